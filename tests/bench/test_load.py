"""The load test: its arithmetic, its records, and that nothing wrong in a target's answers goes unnoticed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError, ConfigError, RecordError
from bench.load import cli, report
from bench.load.arrivals import poisson_arrivals_ns, text_order
from bench.load.checking import TOLERANCE, References, far_apart
from bench.load.observations import OK, OUTCOMES, UNANSWERED, Observations, empty, joined, read_observations
from bench.load.options import LoadTestOptions
from bench.load.records import MemorySample, Phase, read_memory, read_phases
from bench.load.run import Targets, run_load
from bench.load.summary import MIN_BEYOND, answers_per_s, memory_over_time, quantile, ratios, summarise
from bench.measure.service_process import MemorySampler, find_service, private_runtime, stop_service
from bench.measure.variables import RUNTIME
from tests.bench.support import load_targets
from tests.bench.support.commands import call
from tests.conftest import ROOT

pytestmark = pytest.mark.process

FAKES = "tests.bench.support.load_targets:"
SMALL = LoadTestOptions(
    clients=4, processes=2, requests=200, in_process_requests=60, rounds=1, texts=20, rates=(200.0,), seconds=0.5,
    patience_s=1.0, timeout_s=60.0,
)  # fmt: skip


def measure(tmp_path, service="Right", **changes):
    """Run a small load test of a fake and return its phases by name."""
    options = replace(SMALL, **changes)
    targets = Targets(FAKES + service, FAKES + "Right")
    folder = tmp_path / "run"
    phases = run_load(options, folder, lambda _: None, lock=str(tmp_path / "lock"), targets=targets)
    assert [phase for phase, _ in read_phases(folder)] == phases, "what is written is what was measured"
    return {phase.name: phase for phase in phases}, folder


def requests(due_ms, took_ms, *, outcome=OK, waited_ms=0, late_ms=0):
    """Observations of requests that were due at these milliseconds."""
    due = (np.array(due_ms, np.float64) * 1e6).astype(np.int64)
    taken = due + int(waited_ms * 1e6) if waited_ms else np.zeros_like(due)
    sent = np.maximum(due, taken) + int(late_ms * 1e6) + 1
    done = sent + (np.broadcast_to(took_ms, due.shape) * 1e6).astype(np.int64)
    return Observations(due, taken, sent, done, np.full(len(due), outcome, np.uint8))


def phase_of(name, found, number=0, **more):
    return Phase(name, number, "ok", counts=found.counts, raw="x", **more), found


class TestArrivals:
    @given(st.floats(0.5, 500), st.floats(0.1, 20), st.integers(0, 2**32 - 1))
    def test_are_in_order_in_time_and_repeatable(self, rate, seconds, seed):
        moments = poisson_arrivals_ns(rate, seconds, seed)
        assert (np.diff(moments) >= 0).all()
        assert ((moments >= 0) & (moments <= seconds * 1e9)).all()
        assert (moments == poisson_arrivals_ns(rate, seconds, seed)).all()
        # Six standard deviations of a Poisson distribution, and a few for small means.
        assert abs(len(moments) - rate * seconds) <= 6 * math.sqrt(rate * seconds) + 12

    def test_gaps_are_exponential(self):
        from scipy.stats import kstest

        gaps = np.diff(poisson_arrivals_ns(100.0, 100.0, 7)) / 1e9
        assert kstest(gaps, "expon", args=(0, 0.01)).pvalue > 0.001

    def test_seeds_differ(self):
        one, other = poisson_arrivals_ns(100.0, 1.0, 1), poisson_arrivals_ns(100.0, 1.0, 2)
        assert len(one) != len(other) or (one != other).any()

    @given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 99))
    def test_each_text_is_asked_for_as_often_as_the_others(self, count, texts, seed):
        order = text_order(count, texts, seed)
        assert len(order) == count
        often = np.bincount(order, minlength=texts)
        assert often.max() - often.min() <= 1
        assert (order == text_order(count, texts, seed)).all()


class TestChecking:
    def test_texts_with_the_same_vector_are_left_out_but_the_first(self):
        vectors = np.stack([load_targets.vector_of(name) for name in "abc"])
        vectors = np.concatenate([vectors, vectors[1:2] + np.float32(TOLERANCE)])
        assert far_apart(vectors).tolist() == [True, True, True, False]

    @given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 40))
    def test_what_is_accepted_is_nearest_to_its_own_reference(self, seed, count, dimension):
        random = np.random.default_rng(seed)
        vectors = random.normal(size=(count, dimension)).astype("<f4") * np.float32(10.0 ** random.uniform(-5, 0))
        kept = vectors[far_apart(vectors)]
        references = References(kept)
        for index, vector in enumerate(kept):
            noise = random.choice([-1, 1], dimension) * TOLERANCE * random.uniform(0, 2)
            answer = (vector + noise).astype("<f4")
            if not references.fault(index, answer.tobytes()):
                assert np.linalg.norm(kept.astype(float) - answer, axis=1).argmin() == index

    def test_what_is_wrong_is_told(self):
        vectors = np.stack([load_targets.vector_of(name) for name in "abc"])
        references = References(vectors)
        assert references.fault(0, vectors[0].tobytes()) == ""
        assert references.fault(0, (vectors[0] + np.float32(TOLERANCE / 2)).tobytes()) == ""
        assert "another text" in references.fault(0, vectors[1].tobytes())
        assert "no text" in references.fault(0, (vectors[0] * np.float32(1.1)).tobytes())
        assert "not a number" in references.fault(0, np.full(16, np.nan, "<f4").tobytes())
        assert "60 bytes instead of 64" in references.fault(0, vectors[0].tobytes()[:-4])
        assert "list" in references.fault(0, vectors[0].tolist())


class TestSummary:
    @given(st.lists(st.integers(0, 10**9), max_size=3000), st.sampled_from([500, 900, 990, 999]))
    def test_a_quantile_is_a_value_with_enough_beyond_or_nothing(self, values, permille):
        found = quantile(np.array(values, np.int64), permille)
        if len(values) * (1000 - permille) < MIN_BEYOND * 1000:
            assert found is None
        else:
            assert found in values
            assert sum(value <= found for value in values) * 1000 >= permille * len(values)
            assert sum(value < found for value in values) * 1000 <= permille * len(values)

    def test_the_99_percent_quantile_takes_a_thousand_samples(self):
        assert quantile(np.arange(999), 990) is None
        assert quantile(np.arange(1000), 990) == 989

    def test_latency_begins_when_a_request_was_due(self):
        found = requests([0, 1, 2], took_ms=5, waited_ms=100)
        assert (found.latencies_ns // 1_000_000).tolist() == [105, 105, 105]

    def test_only_right_answers_count(self):
        right, wrong = requests(range(30), 1), requests(range(30, 60), 500, outcome=OUTCOMES.index("wrong"))
        (load,) = summarise([phase_of("closed", joined([right, wrong]))])
        assert load.counts["ok"] == load.counts["wrong"] == 30
        assert load.latencies_ms[500] < 2
        assert "30 wrong" in load.remarks

    def test_no_right_answer(self):
        assert answers_per_s(empty(3)) is None
        (load,) = summarise([phase_of("closed", empty(3))])
        assert load.answers_per_s is None
        assert load.remarks == ("3 unanswered",)

    def test_ratios_are_formed_within_rounds(self):
        measured = []
        for number, (service_ms, serial_ms) in enumerate([(1, 2), (10, 40), (1, 3)]):
            measured.append(phase_of("closed", requests([0], service_ms), number))
            measured.append(phase_of("serial", requests([0], serial_ms), number))
            measured.append(phase_of("batch", requests([0], 2 * serial_ms), number))
        measured.append(phase_of("closed", requests([0], 1), 3))  # a round whose others failed
        found = ratios(measured)
        assert found["serial"].median == pytest.approx(3, rel=1e-3)
        assert (found["serial"].lowest, found["serial"].highest) == pytest.approx((2, 4), rel=1e-3)
        assert found["best"] == found["serial"]
        assert found["batch"].median == pytest.approx(6, rel=1e-3)
        assert "threads" not in found

    def test_a_generator_that_falls_behind_is_flagged(self):
        due = range(0, 2000, 1)
        on_time = phase_of("open", requests(due, 5, late_ms=0.1), offered_per_s=1000.0, seconds=2.0, clients=64)
        late = phase_of("open", requests(due, 5, late_ms=4), offered_per_s=1000.0, seconds=2.0, clients=64)
        assert summarise([on_time])[0].remarks == ()
        assert summarise([late])[0].remarks == ("the generator fell behind",)
        # Clients that were all busy are not the generator's fault.
        busy = phase_of("open", requests(due, 5, waited_ms=4), offered_per_s=1000.0, seconds=2.0, clients=64)
        (load,) = summarise([busy])
        assert load.remarks == ()
        assert load.waited == 1.0

    def test_answers_that_do_not_keep_up_are_flagged(self):
        due = np.arange(0, 1000, 1.0)
        found = requests(due, due)  # each takes as long as the time that has passed
        (load,) = summarise([phase_of("open", found, offered_per_s=1000.0, seconds=1.0, clients=4)])
        assert load.remarks == ("answers did not keep up in 1 of 1 rounds",)

    @given(st.permutations(range(6)))
    def test_the_order_of_records_makes_no_difference(self, order):
        measured = [
            phase_of("open" if number > 2 else "closed", requests(range(20), number + 1), number % 3,
                     offered_per_s=50.0 if number > 2 else None, seconds=1.0)
            for number in range(6)
        ]  # fmt: skip
        assert summarise([measured[place] for place in order]) == summarise(measured)


class TestMemory:
    @staticmethod
    def samples(per_answer, count=40, noise=0):
        random = np.random.default_rng(3)
        return [
            MemorySample(at * 1_000_000_000, 200_000_000, int(100_000_000 + per_answer * at * 100 + random.integers(0,
            noise + 1))) for at in range(1, count)
        ]  # fmt: skip

    # A hundred answers a second for 40 s.
    measured = (phase_of("closed", requests(np.arange(0, 40_000, 10.0), 1)),)

    @pytest.mark.parametrize(("per_answer", "flat"), [(0, True), (50, True), (5000, False)])
    def test_growth(self, per_answer, flat):
        found = memory_over_time(self.measured, self.samples(per_answer, noise=1000), "closed")
        assert found.is_flat is flat
        assert found.per_1000_bytes == pytest.approx(per_answer * 1000, abs=2000)
        assert found.kind == "rss_anon_bytes"

    def test_a_single_spike_moves_nothing(self):
        samples = self.samples(0)
        samples[5] = replace(samples[5], rss_anon_bytes=10**9)
        assert memory_over_time(self.measured, samples, "closed").per_1000_bytes == pytest.approx(0, abs=1)

    def test_what_is_taken_while_nobody_asks_does_not_count(self):
        later = [replace(sample, at_ns=sample.at_ns + 10**12) for sample in self.samples(0)]
        assert memory_over_time(self.measured, later, "closed") is None
        local = tuple((replace(phase, name="serial"), found) for phase, found in self.measured)
        assert memory_over_time(local, self.samples(0), "closed") is None

    def test_without_what_is_its_own(self):
        samples = [replace(sample, rss_anon_bytes=None) for sample in self.samples(0)]
        assert memory_over_time(self.measured, samples, "closed").kind == "rss_bytes"


class TestOptions:
    @pytest.mark.parametrize(
        "changes",
        [
            {"clients": 0}, {"requests": -1}, {"rounds": 0}, {"seconds": 0.0}, {"seconds": math.nan}, {"rates": (0.0,)},
            {"fractions": (math.inf,)}, {"phases": ()}, {"phases": ("closed", "x")}, {"processes": 5},
            {"phases": ("open",), "rates": ()},
        ],
    )  # fmt: skip
    def test_what_cannot_be_meant(self, changes):
        with pytest.raises(ConfigError):
            replace(SMALL, **changes)


class TestRecords:
    def test_damaged_files_are_named(self, tmp_path):
        _, folder = measure(tmp_path, phases=("serial",))
        lines = (folder / "load.jsonl").read_text()
        replaced = [
            ('"serial"', '"x"'),
            ("000-", "../"),
            ('"ok":60', '"ok":59'),
            ('"round":0', '"round":"0"'),
            ('"clients"', '"x"'),
        ]
        for bad in ("", "x\n", "[]\n", '{"schema": 9}\n', *(lines.replace(*pair) for pair in replaced)):
            (folder / "load.jsonl").write_text(bad)
            with pytest.raises(RecordError):
                read_phases(folder)
        (folder / "load.jsonl").write_text(lines + lines[: len(lines) // 2])
        assert len(read_phases(folder)) == 1, "a line that was being written is left out"

    @pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9])
    def test_truncated_requests(self, tmp_path, keep):
        path = tmp_path / "x.npz"
        requests(range(500), 3).write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
        with pytest.raises(RecordError, match="cannot be read"):
            read_observations(path)

    def test_requests_that_do_not_fit_together(self, tmp_path):
        path = tmp_path / "x.npz"
        found = requests(range(5), 3)
        for bad in (replace(found, due_ns=found.due_ns[:3]), replace(found, outcome=found.outcome + 50)):
            bad.write(path)
            with pytest.raises(RecordError, match="do not fit together"):
                read_observations(path)
        replace(found, due_ns=np.array(["x"] * 5)).write(path)
        with pytest.raises(RecordError):
            read_observations(path)

    def test_requests_survive_writing(self, tmp_path):
        found = requests(range(500), 3)
        found.write(tmp_path / "x.npz")
        read = read_observations(tmp_path / "x.npz")
        assert all((vars(read)[name] == vars(found)[name]).all() for name in vars(found))

    def test_a_run_of_something_else_is_refused(self, tmp_path, capsys):
        (tmp_path / "manifest.json").write_text(json.dumps({"schema": 2, "run": "x"}))
        assert call(cli.main, ["report", str(tmp_path)]) == 2
        assert "is not a run of python -m bench.load" in capsys.readouterr().err
        assert call(cli.main, ["report", str(tmp_path / "missing")]) == 2


class TestRuns:
    def test_all_phases_and_the_page(self, tmp_path, capsys):
        phases, folder = measure(tmp_path, rounds=2)
        assert set(phases) == {"closed", "serial", "threads", "batch", "open"}
        assert not any(phase.bad for phase in phases.values())
        assert phases["closed"].counts["ok"] == 200
        assert phases["batch"].counts["ok"] == 60
        assert phases["closed"].facts["engine"] == "hash"
        assert call(cli.main, ["report", str(folder)]) == 0
        out = capsys.readouterr().out
        assert str(folder / "load.md") in out
        page = (folder / "load.md").read_text()
        assert "one process, its best" in page
        assert "What went wrong" not in page
        for name in ("throughput", "latency"):
            assert (folder / "plots" / f"{name}.png").stat().st_size > 1000
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        report.write_report(folder)
        assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_open_loops_are_shares_of_what_was_measured(self, tmp_path):
        phases, _ = measure(tmp_path, rates=(), fractions=(0.01,), phases=("closed", "open"))
        assert phases["open"].fraction == 0.01
        assert phases["open"].offered_per_s > 0

    def test_a_folder_with_a_run_is_refused(self, tmp_path):
        measure(tmp_path, phases=("serial",))
        with pytest.raises(ConfigError, match="already holds a run"):
            measure(tmp_path, phases=("serial",))

    @pytest.mark.parametrize(
        ("service", "outcome", "message", "phases"),
        [
            ("OfAnotherText", "wrong", "the vector of another text", ("closed", "open")),
            ("Slightly", "wrong", "a vector that belongs to no text", ("closed",)),
            ("NotANumber", "wrong", "a vector that is not a number", ("open",)),
            ("Short", "wrong", "an answer of 60 bytes instead of 64", ("closed",)),
            ("Broken", "error", "ServiceUnavailableError: the connection was closed", ("open",)),
            ("Busy", "busy", "ServiceBusyError: too many requests", ("closed",)),
            ("Silent", "unanswered", "no answer within 1 s, or no client left to ask", ("open",)),
        ],
    )
    def test_what_goes_wrong_is_found(self, tmp_path, service, outcome, message, phases):
        phases, folder = measure(tmp_path, service, phases=phases)
        for phase in phases.values():
            assert phase.status == "ok"
            assert phase.counts[outcome] == phase.bad > 0
            assert phase.messages[message] == phase.bad
        report.write_report(folder)
        assert message in (folder / "load.md").read_text()

    def test_a_client_process_that_dies_is_a_failed_phase(self, tmp_path):
        phases, folder = measure(tmp_path, "Dies", phases=("closed", "serial"))
        assert phases["closed"].status == "failed"
        assert "did not finish" in phases["closed"].message
        assert phases["serial"].status == "ok"
        report.write_report(folder)
        assert "1 of 1 rounds failed" in (folder / "load.md").read_text()

    def test_without_a_service_nothing_is_measured(self, tmp_path):
        with pytest.raises(BenchError, match="there is no service"):
            measure(tmp_path, "NotThere", phases=("closed",))

    @pytest.mark.slow
    def test_exit_codes(self, tmp_path, monkeypatch, capsys):
        words = ["--quick", "--phases", "closed", "--patience-s", "1", "--quiet", "--seconds", "0.5"]
        for service, code in (("Right", 0), ("Slightly", 1), ("Dies", 1), ("NotThere", 2)):

            def run(options, folder, say, *, command, service=service):
                targets = Targets(FAKES + service, FAKES + "Right")
                return run_load(options, folder, say, command=command, lock=str(tmp_path / "lock"), targets=targets)

            monkeypatch.setattr(cli, "run_load", run)
            assert call(cli.main, [*words, "--output", str(tmp_path / service)]) == code, service
        assert "error: The service cannot be reached" in capsys.readouterr().err


class TestServer:
    @pytest.fixture
    def other(self, tmp_path):
        """A process that has the folder's name in its environment, but is nobody's service."""
        with private_runtime() as runtime:
            environ = {**os.environ, RUNTIME: str(runtime)}
            # By way of another process that ends: as a service, it is no child of ours.
            child = "[sys.executable, '-c', 'import time; time.sleep(600)'], stdout=-3, stderr=-3"
            code = f"import subprocess, sys; print(subprocess.Popen({child}).pid)"
            out = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
            process = psutil.Process(int(out.stdout))
            yield runtime, environ, process
            if process.is_running():
                process.kill()

    def test_is_found_watched_and_stopped(self, other, tmp_path, monkeypatch):
        runtime, environ, process = other
        monkeypatch.setattr("bench.measure.service_process.STOP_S", 3.0)
        monkeypatch.setattr("bench.measure.service_process.SAMPLE_EVERY_S", 0.02)
        assert find_service(runtime) == process
        path = tmp_path / "memory.jsonl"
        with MemorySampler(process, path):
            time.sleep(0.2)
        samples = read_memory(tmp_path)
        assert len(samples) > 1
        assert all(sample.rss_bytes > 0 for sample in samples)
        assert "had to be killed" in stop_service(runtime, environ), "it is no service, and heard no command"
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        assert find_service(runtime) is None
        assert stop_service(runtime, environ) == ""

    def test_sampling_ends_with_the_process(self, other, tmp_path):
        _, _, process = other
        process.kill()
        process.wait(10)
        with MemorySampler(process, tmp_path / "memory.jsonl"):
            pass
        assert read_memory(tmp_path) == []

    def test_the_folder_is_private_and_short(self):
        with private_runtime() as runtime:
            assert len(str(runtime)) < 60
            if os.name == "posix":
                assert runtime.stat().st_mode & 0o077 == 0
        assert not runtime.exists()


def _environment(process):
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


@pytest.mark.real_model
@pytest.mark.slow
class TestReal:
    def test_one_process(self, tmp_path, artifacts):
        folder = tmp_path / "run"
        words = ["--quick", "--phases", "serial,threads,batch", "--quiet", "--output", str(folder)]
        assert call(cli.main, words) == 0
        assert {phase.name for phase, _ in read_phases(folder)} == {"serial", "threads", "batch"}
        assert all(phase.facts["engine"] == "onnx" and not phase.bad for phase, _ in read_phases(folder))

    @pytest.mark.skipif(sys.platform == "win32", reason="the service is for systems with Unix sockets")
    def test_the_service(self, tmp_path, artifacts):
        folder = tmp_path / "run"
        words = ["--quick", "--phases", "closed,open", "--quiet", "--seconds", "5", "--requests", "1000"]
        assert call(cli.main, [*words, "--output", str(folder)]) == 0
        phases = [phase for phase, _ in read_phases(folder)]
        assert [phase.name for phase in phases] == ["closed", "open"]
        assert phases[0].counts["ok"] == 1000
        assert phases[0].facts == {"engine": "onnx", "device": "cpu", "precision": "float32"}
        assert phases[0].service_cpu_s > 0
        assert len(read_memory(folder)) > 1
        assert "Memory of the service" in (folder / "load.md").read_text()

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interruption_leaves_no_process(self, tmp_path, artifacts, number):
        folder = tmp_path / "run"
        words = ["--quick", "--phases", "closed", "--requests", "1000000", "--output", str(folder)]
        command = [sys.executable, "-m", "bench.load", *words]
        environ = {**os.environ, "TMPDIR": str(tmp_path)}
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT, env=environ) as run:
            memory = folder / "memory.jsonl"
            while run.poll() is None and not (memory.exists() and memory.stat().st_size):
                time.sleep(0.1)
            ours = [
                process for process in psutil.process_iter() if str(tmp_path) in _environment(process).get("TMPDIR", "")
            ]
            assert len(ours) == 4, "the bench, two client processes, the service"
            run.send_signal(number)
            _, err = run.communicate(timeout=60)
        assert run.returncode == 130, err
        _, alive = psutil.wait_procs(ours, timeout=10)
        assert not alive


def test_nothing_is_unanswered_by_default():
    assert empty(2).counts == {**dict.fromkeys(OUTCOMES, 0), OUTCOMES[UNANSWERED]: 2}


def test_every_flag_is_documented():
    page = (ROOT / "docs" / "how-to" / "load.md").read_text()
    flags = [option for action in cli._parser()._actions for option in action.option_strings]
    assert [flag for flag in flags if flag not in {"-h", "--help"} and f"`{flag}`" not in page] == []
