"""The fixture ``cold_start`` as its users have it: pytest in a process of its own, tiny models, real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from bench.errors import ConfigError
from bench.pytest_plugin import EXTRA_INFO, compose_benchmark
from tests.conftest import ROOT
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.process

CONFTEST = 'pytest_plugins = ["bench.pytest_plugin"]\n'
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider")
ENVIRON = {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def model(tiny_folder):
    """Words that name a tiny model."""
    return ["model.key=tiny", f"model.name={tiny_folder(Tiny())}"]


@pytest.fixture
def suite(python, tmp_path):
    """Run pytest on a file of tests: ``suite(source, *words)``."""

    def run(source, *words, env=None):
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "test_it.py").write_text(f"import json, os, sys\nimport pytest\n\n{source}\n")
        return python(None, *PYTEST, *words, env=ENVIRON | (env or {}))

    return run


def benchmarks(path):
    return json.loads(path.read_text())["benchmarks"]


class TestAModel:
    def test_its_rounds_are_fresh_processes(self, suite, model, tmp_path):
        source = f"""
def test_first_vector(cold_start):
    records = cold_start("strategy=progressive", *{model}, rounds=3, warmup_rounds=2)
    assert {{record.status for record in records}} == {{"ok"}}
    assert [record.round for record in records] == [2, 3, 4]
    print("marks", json.dumps([record.marks_ns for record in records]))
"""
        done = suite(source, "-s", "--benchmark-json=out.json")
        assert done.code == 0, done.out + done.err
        (benchmark,) = benchmarks(tmp_path / "out.json")
        marks = json.loads(done.out.partition("marks ")[2].splitlines()[0])
        assert (benchmark["name"], benchmark["fullname"]) == ("test_first_vector", "test_it.py::test_first_vector")
        assert (benchmark["stats"]["rounds"], benchmark["stats"]["iterations"]) == (3, 1)
        for timed_s, found in zip(benchmark["stats"]["data"], marks, strict=True):
            assert timed_s * 1e9 >= found["exit"] > found["first_embedding"] > found["python_up"] > 0
        info = benchmark["extra_info"]
        assert info.pop("cell") == "progressive/auto/tiny/cpu/idle"
        assert set(info) == set(EXTRA_INFO) - {"results_ms", "together_mib"}
        totals = sorted(found["first_embedding"] / 1e6 for found in marks)
        assert info["total_ms"] == round(totals[1], 3)

    def test_a_run_is_compared_with_a_saved_one(self, suite, model, tmp_path):
        """Not by timing: what was saved is made a thousand times faster, or slower, than it was."""
        source = f'def test_a(cold_start): cold_start("strategy=lazy", *{model}, rounds=2, warmup_rounds=0)'
        assert suite(source, "--benchmark-json=saved.json").code == 0
        saved = json.loads((tmp_path / "saved.json").read_text())
        median = saved["benchmarks"][0]["stats"]["median"]
        for factor, has_regressed in ((1 / 1000, True), (1000, False)):
            saved["benchmarks"][0]["stats"]["median"] = median * factor
            (tmp_path / "changed.json").write_text(json.dumps(saved))
            done = suite(source, "--benchmark-compare=changed.json", "--benchmark-compare-fail=median:10%")
            assert (done.code != 0) is has_regressed, done.out + done.err
            assert ("Performance has regressed" in done.out + done.err) is has_regressed

    def test_disabled_it_runs_once_and_saves_nothing(self, suite, model, tmp_path):
        source = f'def test_a(cold_start): assert len(cold_start("strategy=lazy", *{model})) == 1'
        done = suite(source, "--benchmark-disable", "--benchmark-json=out.json")
        assert done.code == 0, done.out
        assert not (tmp_path / "out.json").exists()

    def test_a_session_prepares_a_model_once_and_leaves_nothing(self, suite, model, tmp_path):
        source = f"""
from bench.measure import run
prepared = []
original = run.prepare_model
run.prepare_model = lambda model, *more, **named: prepared.append(more[1:]) or original(model, *more, **named)

@pytest.mark.parametrize("strategy", ["lazy", "background", "quantized"])
def test_a(cold_start, strategy):
    (record,) = cold_start(f"strategy={{strategy}}", *{model}, rounds=1, warmup_rounds=0)
    assert record.facts["precision"] == ("int8" if strategy == "quantized" else "float32")

def test_prepared():
    assert prepared == [(), ("int8",)]
"""
        (tmp_path / "temporary").mkdir()
        done = suite(source, env={"TMPDIR": str(tmp_path / "temporary")})
        assert done.code == 0, done.out
        assert not list((tmp_path / "temporary").glob("bench-*"))

    @pytest.mark.parametrize(("option", "outcome"), [("only", "1 passed, 1 skipped"), ("skip", "1 passed, 1 skipped")])
    def test_it_is_a_benchmark_to_pytest_benchmark(self, suite, option, outcome):
        source = """
def test_benchmark(cold_start): cold_start.command([sys.executable, "-c", ""], rounds=1)
def test_other(): pass
"""
        done = suite(source, "-v", f"--benchmark-{option}")
        assert outcome in done.out
        assert f"test_it.py::test_{'benchmark' if option == 'only' else 'other'} PASSED" in done.out


class TestWhatGoesWrong:
    def test_a_cell_that_fails(self, suite, tmp_path):
        source = """
def test_a(cold_start): cold_start("strategy=lazy", "model.key=gone", "model.name=./gone", rounds=2)
def test_b(benchmark): benchmark.pedantic(int)
"""
        done = suite(source, "--benchmark-json=out.json")
        assert done.code == 1
        assert "lazy/auto/gone/cpu/idle: failed in the warm-up: ModelNotFoundError" in done.out
        assert "1 failed, 1 passed" in done.out
        assert "pytest_plugin.py" not in done.out, "the failure is not in our code, nor in the test's"
        assert [item["name"] for item in benchmarks(tmp_path / "out.json")] == ["test_b"]

    def test_a_cell_that_this_machine_cannot_run_is_skipped(self, suite, model):
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
        for words in ((), ("--benchmark-disable",)):
            source = f'def test_a(cold_start): cold_start("strategy=lazy", "device=cuda", *{model})'
            done = suite(source, "-rs", *words)
            assert done.code == 0, done.out
            assert "1 skipped" in done.out
            assert "lazy/auto/tiny/cuda/idle: unsupported" in done.out

    def test_a_command_that_fails_after_some_rounds(self, suite, tmp_path):
        program = "import os, sys; open('rounds', 'a').write('x'); "
        program += "sys.exit(f'{os.environ[\"WORD\"]} of the end' if os.path.getsize('rounds') == 4 else 0)"
        source = f"""
def test_a(cold_start, monkeypatch):
    monkeypatch.setenv("WORD", "message")
    cold_start.command([sys.executable, "-c", {program!r}], rounds=9, warmup_rounds=2)
def test_b(benchmark): benchmark.pedantic(int)
"""
        done = suite(source, "--benchmark-json=out.json")
        assert done.code == 1
        assert "failed in a round: exit code 1" in done.out
        assert "\nmessage of the end" in done.out
        assert (tmp_path / "rounds").read_text() == "xxxx", "no round comes after the one that failed"
        assert [item["name"] for item in benchmarks(tmp_path / "out.json")] == ["test_b"]

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            ('cold_start("strategy=sluggish")', "sluggish"),
            ('cold_start("protocol.rounds=3")', "protocol.rounds=3 applies to a run of python -m bench"),
            ('cold_start.command("no-such-program --help")', "no-such-program is not on the PATH"),
            ('cold_start.command("")', "The command is empty"),
            ("cold_start.command('a \"b')", "cannot be parsed"),
            ("cold_start.command([str(bad)])", "cannot be started: Exec format error"),
            (
                'cold_start.command([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.5)',
                "timeout in the warm-up: killed after",
            ),
        ],
    )
    def test_it_is_said(self, suite, call, message):
        source = f"""
def test_a(cold_start, tmp_path):
    bad = tmp_path / "bad"
    bad.write_bytes(b"\\0\\1\\2")
    bad.chmod(0o755)
    {call}
"""
        done = suite(source)
        assert done.code == 1
        assert message in done.out
        assert "Traceback" not in done.out

    def test_without_pytest_benchmark_the_extra_is_named(self, suite):
        done = suite("def test_a(cold_start): pass\ndef test_b(): pass", "-p", "no:benchmark")
        assert done.code == 1
        assert "optimized-embedding-loader[bench]" in done.out
        assert "1 passed, 1 error" in done.out


class TestACommand:
    def test_rounds_and_marks(self, suite, tmp_path):
        program = "import sys; open('rounds', 'a').write('x'); print('some output'); sys.stdin.read()"
        source = f"""
def test_a(cold_start):
    records = cold_start.command([sys.executable, "-c", {program!r}], rounds=3, warmup_rounds=2)
    for record in records:
        assert 0 < record.marks_ns["results"] <= record.marks_ns["exit"]
    assert len(records) == 3
"""
        done = suite(source, "--benchmark-json=out.json")
        assert done.code == 0, done.out
        assert (tmp_path / "rounds").read_text() == "xxxxx"
        (benchmark,) = benchmarks(tmp_path / "out.json")
        assert set(benchmark["extra_info"]) == {"cell", "results_ms"}
        assert benchmark["stats"]["rounds"] == 3

    def test_one_text_is_split_like_a_shell_would(self, suite):
        source = """
def test_a(cold_start):
    cold_start.command(f"'{sys.executable}' -c 'import sys; sys.exit(sys.argv[1:] != [\\"two words\\", \\"$HOME\\"])' "
                       "'two words' $HOME", rounds=1)
"""
        done = suite(source)
        assert done.code == 0, done.out


@pytest.fixture
def started(tmp_path, tmp_path_factory):
    """Start pytest on a file of tests and do not wait for it."""
    children = []

    def start(source):
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "test_it.py").write_text(f"import sys\n\n{source}\n")
        environ = os.environ | ENVIRON | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        environ.pop("PYTEST_XDIST_WORKER", None)  # as the fixture python does
        children.append(
            subprocess.Popen(
                [sys.executable, *PYTEST],
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_ends_what_is_measured(started, tmp_path):
    program = (
        "import os, time; print(os.getpid(), file=open('pid.new', 'w')); os.rename('pid.new', 'pid'); time.sleep(600)"
    )
    child = started(f"def test_a(cold_start): cold_start.command([sys.executable, '-c', {program!r}], timeout_s=900)")
    while not (tmp_path / "pid").exists():
        assert child.poll() is None, child.stdout.read()
    measured = psutil.Process(int((tmp_path / "pid").read_text()))
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 2, out
    assert not measured.is_running()
    assert not list(tmp_path.glob("bench-pytest-*"))


@pytest.mark.timeout(120)
def test_it_waits_for_another_bench_and_says_so(started, tmp_path):
    with FileLock(tmp_path / "embedding-bench.lock"):
        child = started("def test_a(cold_start): cold_start.command([sys.executable, '-c', ''], rounds=1)")
        for line in child.stdout:
            if "waiting for another bench on this machine" in line:
                break
        else:
            pytest.fail("it did not wait")
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0, out


def test_importing_it_is_cheap(python):
    code = (
        "import pytest, sys; before = set(sys.modules); import bench.pytest_plugin; print(*(set(sys.modules) - before))"
    )
    done = python(code, env=ENVIRON)
    assert done.code == 0, done.err
    packages = {name.partition(".")[0] for name in done.out.split()}
    assert packages <= {"bench", *sys.stdlib_module_names}


class TestTheWords:
    def test_they_make_one_cell(self):
        conf, cell = compose_benchmark(
            ["strategy=quantized", "engine=numpy", "threads=1", "protocol.sample_timeout_s=7"]
        )
        assert cell.label() == "quantized/numpy/minilm/cpu/idle/1 thread"
        assert conf.protocol.sample_timeout_s == 7

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("strategy=lazy,progressive", "multirun"),
            ("nonsense", "nonsense"),
            ("strategy=[", r"strategy=\[ .*is not a valid configuration"),
            ("+new=1", "new"),
            ("threads=0", "threads=0 must be at least 1"),
            ("threads=many", "threads"),
            ("baseline=true", "not to a single benchmark"),
            ("suite=strategies", "not to a single benchmark"),
            ("++peers=[openvino]", "not to a single benchmark"),
            ("protocol=quick", "not to a single benchmark"),
            ("hydra/launcher=ray", "not to a single benchmark"),
            ("cache_state=cold_disk", "cannot be timed by pytest-benchmark"),
        ],
    )
    def test_words_that_make_none(self, word, message):
        with pytest.raises(ConfigError, match=message):
            compose_benchmark([word])

    def test_somebody_else_who_uses_hydra_is_not_disturbed(self, tmp_path):
        import hydra

        (tmp_path / "theirs.yaml").write_text("a: 1\n")
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(tmp_path)):
            compose_benchmark(["strategy=lazy"])
            assert hydra.compose("theirs") == {"a": 1}


def test_the_plugin_is_not_registered_for_everybody():
    assert "pytest11" not in (Path(ROOT) / "pyproject.toml").read_text()
