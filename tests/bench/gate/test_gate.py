"""Whole gates, in processes of their own: real repositories, installations, samples and verdicts."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from itertools import product
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from bench.data.manifest import read_manifest
from bench.data.records import read_records
from bench.gate.__main__ import main
from bench.gate.decide.rules import ARMS, BASE, HEAD
from tests.bench.gate.repositories import ENVIRON, Repository, make_index
from tests.bench.gate.tiny_projects import write_wheel
from tests.bench.support.commands import call
from tests.support.tiers import representative
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.process

QUICK = ("budget_s=20", "max_rounds=15", "warmup_rounds=1")
TRIES = 3
INCONCLUSIVE = 3
COMMAND = ("--command", "house", *QUICK)
SLOW = {"house.py": "import time\ntime.sleep(0.1)\ndef main():\n    print('slow')\n"}
FAST = {"house.py": "def main():\n    print('fast')\n"}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Where dependencies are kept, for all tests."""
    return tmp_path_factory.mktemp("gate-store")


@pytest.fixture
def gate(python, repository, store, tmp_path):
    """Run a gate: ``gate(*words)``; its folder is ``gate.output``.

    ``gate.clear(*words)`` runs gates until one can tell: on a busy machine, it is right to say nothing.
    """

    def run(*words):
        given = ["--repository", repository.folder, "--environments", store, "--output", run.output]
        return python(None, "-m", "bench.gate", *map(str, given), *words, env=ENVIRON | run.environ, timeout=280)

    def clear(*words):
        for _ in range(TRIES - 1):
            done = run(*words)
            if done.code != INCONCLUSIVE:
                return done
            shutil.rmtree(run.output)
        return run(*words)

    run.output = tmp_path / "gate"
    run.environ = {}
    run.clear = clear
    return run


def verdict(gate):
    return json.loads((gate.output / "verdict.json").read_text())


class TestACommand:
    def test_one_that_is_slower_is_a_regression(self, gate, repository):
        repository.commit("Start fast", script="house = house:main", files=FAST)
        head = repository.commit("Be slow", script="house = house:main", files=SLOW)
        done = gate.clear("--base", "HEAD~1", "--head", "HEAD", *COMMAND)
        assert done.code == 1, done.err
        assert done.out.startswith("REGRESSION: house: Whole Process +")
        said = verdict(gate)
        assert said["result"] == "regression"
        assert said["head"] == {"asked": "HEAD", "commit": head, "subject": "Be slow"}
        (decision,) = said["decisions"]
        assert [finding["state"] for finding in decision["findings"]] == ["over", "over"], "seen in both stages"
        assert decision["findings"][0]["shift"]["low"] > 0.1
        cases = ElementTree.parse(gate.output / "junit.xml").getroot().iter("testcase")
        assert [child.tag for case in cases for child in case] == ["failure"]
        assert "REGRESSION" in (gate.output / "verdict.md").read_text()

    @pytest.mark.slow
    def test_one_that_is_faster_or_the_same_is_none(self, gate, repository):
        repository.commit("Be slow", script="house = house:main", files=SLOW)
        repository.commit("Start fast", script="house = house:main", files=FAST)
        done = gate.clear("--base", "HEAD~1", "--head", "HEAD", *COMMAND)
        assert done.code == 0, done.err
        assert done.out.startswith("OK: ")
        records = {arm: read_records(gate.output / arm / "records.jsonl") for arm in ARMS}
        rounds = [[record.round for record in records[arm]] for arm in ARMS]
        assert rounds[0] == rounds[1] == rounds[2], "every round has every arm"
        for arm in ARMS:
            assert {record.status for record in records[arm]} == {"ok"}
            assert read_manifest(gate.output / arm / "manifest.json").arm == arm
        base, same, head = (statistics.median(record.marks_ns["exit"] for record in records[arm]) for arm in ARMS)
        assert head < min(base, same), "each arm ran its own revision, of which one sleeps 0.1 s"

    @pytest.mark.slow
    def test_the_checkout_is_the_folder_and_setup_runs_once_in_each_arm(self, gate, repository, tmp_path):
        log = tmp_path / "log"
        files = {"house.py": "def main():\n    assert open('tiny.json').read()\n"}
        repository.commit("Read a file", script="house = house:main", files=files)
        code = f"import os; open({str(log)!r}, 'a').write(os.environ['VIRTUAL_ENV'] + chr(10))"
        done = gate("--base", "HEAD", "--head", "HEAD", *COMMAND, "--setup", f'python -c "{code}"')
        assert done.code in {0, 3}, done.err  # nothing changed; on a busy machine there may be nothing to say
        assert [Path(line).name for line in log.read_text().splitlines()] == list(ARMS)

    def test_one_that_fails_is_an_error_with_its_words(self, gate, repository):
        repository.commit("Work", script="house = house:main", files=FAST)
        broken = {"house.py": "def main():\n    raise SystemExit('the door is locked')\n"}
        repository.commit("Break", script="house = house:main", files=broken)
        done = gate("--base", "HEAD~1", "--head", "HEAD", *COMMAND)
        assert done.code == 2
        assert "house in the arm head: failed: exit code 1" in done.err
        assert "the door is locked" in done.err
        assert not (gate.output / "verdict.json").exists()

    def test_one_that_nobody_has_is_an_error(self, gate, repository):
        repository.commit("Work", script="house = house:main", files=FAST)
        done = gate("--base", "HEAD", "--head", "HEAD", "--command", "no-such-program-anywhere", *QUICK)
        assert done.code == 2
        assert "no-such-program-anywhere is neither a program" in done.err

    @pytest.mark.slow
    def test_dependencies_that_differ_are_told(self, gate, repository, tmp_path):
        index = tmp_path / "index"
        index.mkdir()
        write_wheel(index, "wood", "1.0")
        write_wheel(index, "wood", "2.0")
        repository.commit("Old wood", script="house = house:main", files=FAST, requires=["wood==1.0"])
        repository.commit("New wood", script="house = house:main", files=FAST, requires=["wood==2.0"])
        pip = f"--pip-args=--no-index --find-links {index}"
        done = gate("--base", "HEAD~1", "--head", "HEAD", *COMMAND, pip)
        assert done.code in {0, 3}, done.err
        assert verdict(gate)["changed_dependencies"] == [{"name": "wood", "base": "1.0", "head": "2.0"}]


@pytest.mark.slow
class TestTheLoader:
    @pytest.fixture
    def words(self, gate, repository, tiny_folder, tmp_path):
        """Commit the loader as it is, one that imports pandas, and one that does not any more."""
        gate.environ = make_index(tmp_path / "index")
        repository.commit_loader("Good")
        repository.commit_loader("Import pandas", lambda text: text.replace("import sys", "import sys, pandas", 1))
        repository.commit_loader("Revert")
        cell = f"strategy=progressive model=minilm model.name={tiny_folder(Tiny())} threads=1"
        # A round takes seconds where pandas takes them, and an interval needs a number of rounds.
        return ("--cell", cell, "extras=[]", "constraints=null", *QUICK, "budget_s=80")

    def test_a_regression_is_caught_and_its_revert_is_none(self, gate, words, tmp_path):
        done = gate.clear("--base", "HEAD~2", "--head", "HEAD~1", *words)
        assert done.code == 1, done.err
        first = done.out.splitlines()[0]
        for name in ("REGRESSION", "Init Time +", "Total +", "Peak +"):
            assert name in first
        gate.output = tmp_path / "reverted"
        done = gate.clear("--base", "HEAD~1", "--head", "HEAD", *words)
        assert done.code == 0, done.err
        for arm in ARMS:
            folder = gate.output / arm
            (record, *_) = read_records(folder / "records.jsonl")
            assert len(record.vectors()) == 2
            assert read_manifest(folder / "manifest.json").revision.subject == (
                "Revert" if arm == HEAD else "Import pandas"
            )

    def test_a_baseline_is_kept_and_compared_with(self, gate, words, tmp_path):
        baseline = tmp_path / "baseline"
        done = gate("--head", "HEAD~2", "--store", str(baseline), *words)
        assert done.code == 0, done.err
        done = gate.clear("--head", "HEAD~1", "--baseline", str(baseline), *words)
        assert done.code == 1, done.err + done.out
        assert json.loads((gate.output / "verdict.json").read_text())["exit_code"] == 1
        # On another machine, it says nothing, and does not even measure.
        manifest_file = baseline / HEAD / "manifest.json"
        manifest = json.loads(manifest_file.read_text())
        for environment in manifest["environments"].values():
            environment["processor"] = "another one"
        manifest_file.write_text(json.dumps(manifest))
        gate.output = tmp_path / "elsewhere"
        done = gate("--head", "HEAD~1", "--baseline", str(baseline), *words)
        assert done.code == 3, done.err
        assert done.err.splitlines()[-1].startswith("error: ")
        assert "another one" in done.err
        assert read_records(gate.output / HEAD / "records.jsonl") == []


class TestWhatCannotBe:
    def test_a_base_that_does_not_build_is_no_verdict(self, gate, repository):
        repository.commit("Broken", before="raise RuntimeError('the roof is missing')")
        repository.commit("Fixed", script="house = house:main", files=FAST)
        done = gate("--base", "HEAD~1", "--head", "HEAD", *COMMAND)
        assert done.code == 2
        assert "the roof is missing" in done.err
        assert done.out == ""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--base", "no-such-branch", *COMMAND], "no revision 'no-such-branch'"),
            (["--base", "--upload-pack=x", *COMMAND], "expected one argument"),
            (["--base", "HEAD"], "has no package loader"),
            (["--base", "HEAD", "--cell", "strategy=nothing"], "strategy"),
            (["--base", "HEAD", "--cell", "suite=models"], "belongs to a whole run"),
            (["--base", "HEAD", "--cell", "strategy='lazy"], "cannot be parsed"),
            (["--base", "HEAD", "tolerance=-1"], "tolerance=-1"),
            (["--base", "HEAD", "nothing=1"], "nothing"),
            (["--base", "HEAD", "ceilings=[]", "cells=[]"], "nothing to judge"),
            (["--base", "HEAD", "+metrics.no_ms.floor=1"], "no_ms is not a metric"),
            (["--base", "HEAD", "--cell", "cache_state=cold_disk"], "cannot be gated"),
            (["--base", "HEAD", "--command", "'"], "cannot be parsed"),
            (["--base", "HEAD", "--command", ""], "empty"),
            (["--base", "HEAD", "--command", "house", "--cell", "strategy=lazy"], "not both"),
            (["--base", "HEAD", "--setup", "house"], "--setup needs --command"),
            (["--base", "HEAD", "--store", "x"], "one of"),
            (["--head", "HEAD"], "give --base to compare with a revision"),
            (["--base", "HEAD", "--python", "no-such-python"], "no-such-python is not a program"),
            (["--baseline", "no-such-folder", "--command", "house"], "no-such-folder"),
        ],
    )
    def test_it_is_said(self, repository, tmp_path, capsys, words, message):
        repository.commit("Work", script="house = house:main", files=FAST)
        given = ["--repository", repository.folder, "--environments", tmp_path / "store", "--output", tmp_path / "gate"]
        try:
            code = call(main, [*map(str, given), *words])
        except SystemExit as wrong_option:  # as argparse ends
            code = wrong_option.code
        assert code == 2
        assert message in capsys.readouterr().err

    def test_a_folder_with_a_gate_is_not_overwritten(self, gate, repository):
        repository.commit("Work", script="house = house:main", files=FAST)
        (gate.output / HEAD).mkdir(parents=True)
        (gate.output / HEAD / "records.jsonl").write_text("")
        done = gate("--base", "HEAD", "--head", "HEAD", *COMMAND)
        assert done.code == 2
        assert "already holds" in done.err


@pytest.mark.parametrize(
    ("how", "when"),
    representative(
        {(signal.SIGKILL, "measuring"), (signal.SIGINT, "building")},
        product((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), ("building", "measuring")),
    ),
)
def test_a_killed_gate_leaves_nothing(repository, store, tmp_path, how, when):
    waiting = "Path('/proc/self/environ').read_bytes(); time.sleep(60)" if when == "building" else ""
    files = {"house.py": "import time\ndef main():\n    time.sleep(0.3)\n"}
    repository.commit("Work", script="house = house:main", files=files, before=waiting)
    before = sorted(path for path in repository.folder.rglob("*"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    output = tmp_path / "gate"
    words = ["--repository", repository.folder, "--environments", store, "--output", output, "--base", "HEAD"]
    command = [sys.executable, "-m", "bench.gate", *map(str, words), "--command", "house", "budget_s=120"]
    environ = os.environ | ENVIRON | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as child:
        records = output / BASE / "records.jsonl"
        if when == "building":
            assert any("building" in line for line in iter(child.stderr.readline, ""))
            marked = lambda: len(_marked(temporary)) >= 2  # noqa: E731 - pip, and the build
        else:
            marked = lambda: records.exists() and records.stat().st_size > 0  # noqa: E731
        _until(marked)
        child.send_signal(how)
        _until(lambda: child.poll() is not None)
        child.stderr.close()
    assert child.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    _until(lambda: not _marked(temporary))
    _until(lambda: not list(temporary.glob("bench-gate-*")))
    with FileLock(temporary / "embedding-bench.lock", timeout=0):
        pass  # nobody holds it
    assert repository.git("worktree", "list").count("\n") == 0
    assert sorted(path for path in repository.folder.rglob("*")) == before


def _marked(temporary):
    """Processes of the gate whose temporary folder this is."""
    found = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
        except (psutil.Error, OSError):
            continue
        if "BENCH_GATE" in environ and environ.get("TMPDIR", "").startswith(str(temporary)):
            found.append(process)
    return found


def _until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
