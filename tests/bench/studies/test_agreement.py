"""Our timer of whole processes beside hyperfine: what pairs say, and one short real run."""

import io
import json
import os
import random
import shlex
import shutil
import statistics
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.errors import BenchError
from bench.studies.agreement import TOLERANCE, TimedPair, plan_pairs, summarise, to_table
from bench.studies.hyperfine import Hyperfine, read_time_s

pytestmark = pytest.mark.process

TIMES = st.floats(0.01, 100.0)
PAIRS = st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=40)


def pairs_of(times, strategy="lazy"):
    return [TimedPair(strategy, number, True, *both) for number, both in enumerate(times, 1)]


class TestSummary:
    def test_by_hand(self):
        result = summarise(pairs_of([(1.0, 2.0), (3.0, 3.0), (6.0, 4.0)]))
        assert (result.strategy, result.pairs, result.interval) == ("lazy", 3, None)
        assert (result.ours_s, result.theirs_s, result.difference_s, result.ratio) == (3.0, 3.0, 0.0, 1.0)

    @given(PAIRS)
    def test_the_ratio_lies_in_its_interval(self, times):
        result = summarise(pairs_of(times))
        ratios = [ours / theirs for ours, theirs in times]
        assert min(ratios) <= result.ratio <= max(ratios)
        assert (result.interval is None) == (len(times) < 6)
        if result.interval:
            assert result.interval.low <= result.ratio <= result.interval.high

    @given(PAIRS, st.sampled_from([0.25, 2.0, 1024.0]))
    def test_a_slower_clock_changes_no_ratio(self, times, factor):
        slower = summarise(pairs_of([(ours * factor, theirs * factor) for ours, theirs in times]))
        result = summarise(pairs_of(times))
        assert (slower.ratio, slower.interval) == (result.ratio, result.interval)
        assert slower.difference_s == pytest.approx(result.difference_s * factor)

    @given(PAIRS, st.randoms())
    def test_the_order_of_pairs_does_not_matter(self, times, chance):
        shuffled = chance.sample(times, len(times))
        assert summarise(pairs_of(shuffled)) == summarise(pairs_of(times))

    @pytest.mark.parametrize(
        ("ratio", "holds"),
        [(1.0, True), (1 + TOLERANCE - 1e-9, True), (1 - TOLERANCE + 1e-9, True), (1.04, False), (0.96, False)],
    )
    def test_the_verdict_is_about_the_median(self, ratio, holds):
        assert summarise(pairs_of([(0.1, 9.0), (ratio, 1.0), (9.0, 0.1)])).holds is holds

    def test_the_table(self):
        results = [
            summarise(pairs_of([(0.250, 0.200)] * 6, "lazy")),
            summarise(pairs_of([(0.1, 0.1)] * 6, "progressive")),
        ]
        console = Console(width=80, file=io.StringIO())
        console.print(to_table(results, "hyperfine 1.2.3"))
        lines = [" ".join(line.replace("│", " ").split()) for line in console.file.getvalue().splitlines()]
        assert lines[0] == "Spawn to exit in ms, our timer and hyperfine 1.2.3: medians of 6 pairs"
        assert "lazy 250.0 200.0 +50.0 1.250 1.250 to 1.250 no" in lines
        assert "progressive 100.0 100.0 +0.0 1.000 1.000 to 1.000 yes" in lines

    def test_the_table_of_too_few_pairs(self):
        console = Console(width=80, file=io.StringIO())
        console.print(to_table([summarise(pairs_of([(0.1, 0.1)]))], "hyperfine 1.2.3"))
        assert "100.0 100.0 +0.0 1.000 - yes" in " ".join(console.file.getvalue().replace("│", " ").split())


@given(st.lists(st.sampled_from("abcd"), min_size=1, unique=True), st.integers(1, 20), st.integers())
def test_every_round_has_every_strategy_once(strategies, pairs, seed):
    slots = list(plan_pairs(strategies, pairs, random.Random(seed)))
    for number in range(pairs + 1):
        assert sorted(name for at, name, _ in slots if at == number) == sorted(strategies)
    assert slots == list(plan_pairs(strategies, pairs, random.Random(seed)))


def test_strategies_and_timers_change_their_order():
    slots = list(plan_pairs(["a", "b"], 200, random.Random(1)))
    assert 0.3 < statistics.mean(first for _, _, first in slots) < 0.7
    assert 0.3 < statistics.mean(name == "a" for _, name, _ in slots[::2]) < 0.7


class TestResultFile:
    def test_it_is_read(self, tmp_path):
        file = tmp_path / "result.json"
        file.write_text('{"results": [{"command": "x", "times": [0.25], "exit_codes": [0]}]}')
        assert read_time_s(file) == 0.25

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"results": []}',
            b'{"results": [{}]}',
            b'{"results": [{"times": []}]}',
            b'{"results": [{"times": [1.0, 2.0]}]}',
            b'{"results": [{"times": ["1.0"]}]}',
            b'{"results": [{"times": [NaN]}]}',
            b'{"results": [{"times": [-1.0]}]}',
            b'{"results": [{"times": 1.0}]}',
        ],
        ids=lambda content: content[:45].decode("latin-1"),
    )
    def test_anything_else_is_refused(self, tmp_path, content):
        file = tmp_path / "result.json"
        file.write_bytes(content)
        with pytest.raises(BenchError, match=r"hyperfine.s result\.json"):
            read_time_s(file)

    def test_none_is_refused(self, tmp_path):
        with pytest.raises(BenchError, match="FileNotFoundError"):
            read_time_s(tmp_path / "missing.json")


def test_without_hyperfine_it_says_where_to_get_it(python, tmp_path):
    done = python(None, "-m", "bench.agreement", "--pairs", "1", env={"PATH": str(tmp_path)})
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: hyperfine is not on the PATH. Get it from https://")


def test_something_else_called_hyperfine(python, tmp_path):
    impostor = tmp_path / "hyperfine"
    impostor.write_text("#!/bin/sh\nexit 3\n")
    impostor.chmod(0o755)
    done = python(None, "-m", "bench.agreement", "--pairs", "1", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.code == 2
    assert "--version failed" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [["--pairs", "0"], ["--pairs", "many"], ["--strategies", "lazy,eager"]], ids=" ".join)
def test_what_cannot_be_meant_is_refused(python, words):
    done = python(None, "-m", "bench.agreement", *words)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("python -m bench.agreement: error: argument")


@pytest.fixture
def timer():
    if shutil.which("hyperfine") is None:
        pytest.skip("hyperfine is not installed")
    return Hyperfine.find()


class TestRealTimer:
    def test_it_gives_the_process_what_we_give_it(self, timer, tmp_path):
        """No input, a pipe for the output, the same folder, and our environment but for what hyperfine adds."""
        seen = tmp_path / "seen.json"
        code = f"""
import json, os, stat, sys
pipe = stat.S_ISFIFO(os.fstat(1).st_mode)
with open({str(seen)!r}, "w") as file:
    json.dump([sys.stdin.read(), pipe, os.getcwd(), sys.argv[1:], dict(os.environ)], file)
print("x" * 1_000_000)
"""
        words = ["", "two words", "it's", 'a "b" \\c', "{d}", "$HOME", "e=f"]
        environ = {"PYTHONUTF8": "1", "SOMETHING": "1"}
        seconds = timer.time_s(shlex.join([sys.executable, "-c", code, *words]), environ, 60, tmp_path)
        assert seconds > 0
        stdin, pipe, folder, argv, found = json.loads(seen.read_text())
        assert (stdin, pipe, folder, argv) == ("", True, os.getcwd(), words)
        added = found.keys() - environ.keys() - {"LC_CTYPE"}  # which Python sets for itself
        assert found.items() >= environ.items()
        assert all(name.startswith("HYPERFINE_") for name in added), added

    def test_a_command_that_fails(self, timer, tmp_path):
        with pytest.raises(BenchError, match="non-zero exit code"):
            timer.time_s(shlex.join([sys.executable, "-c", "raise SystemExit(3)"]), dict(os.environ), 60, tmp_path)

    def test_a_command_that_hangs_is_killed(self, timer, tmp_path):
        import psutil

        code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        with pytest.raises(BenchError, match="killed after 5 s"):
            timer.time_s(shlex.join([sys.executable, "-c", code]), dict(os.environ), 5, tmp_path)
        pid = int((tmp_path / "pid").read_text())
        if psutil.pid_exists(pid):
            psutil.wait_procs([psutil.Process(pid)], timeout=10)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    @pytest.mark.real_model
    def test_a_short_run(self, timer, python, tmp_path):
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        report = tmp_path / "report.json"
        words = ["-m", "bench.agreement", "--pairs", "2", "--strategies", "lazy", "--json", str(report)]
        done = python(None, *words, env={"TMPDIR": str(scratch)}, timeout=250)
        assert done.code in {0, 1}, done.err
        assert "medians of 2 pairs" in " ".join(done.out.split())
        assert "lazy" in done.out
        found = json.loads(report.read_text())
        assert [(pair["strategy"], pair["round"]) for pair in found["samples"]] == [("lazy", 1), ("lazy", 2)]
        assert all(pair["ours_s"] > 0 and pair["theirs_s"] > 0 for pair in found["samples"])
        (result,) = found["strategies"]
        assert (result["pairs"], result["interval"]) == (2, None)
        assert done.code == (0 if result["holds"] else 1)
        assert [path.name for path in scratch.iterdir() if path.name.startswith("bench-")] == []
