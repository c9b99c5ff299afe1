"""However a gate ends, none of its processes and no folder of it is left. Real processes, really killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.errors import BenchError
from bench.gate.install.janitor import MARKER, guarded, remove, sweep
from tests.conftest import ROOT

pytestmark = pytest.mark.process

WAIT_S = 60

GATE = """
import os, subprocess, sys, time
from bench.gate.install.janitor import guarded

SLEEP = "import time; time.sleep(600)"
CHILD = f'''
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid, flush=True)
{SLEEP}
'''
with guarded() as guard:
    environ = dict(os.environ) | guard.variables
    (guard.folder / "deep" / "er").mkdir(parents=True)
    (guard.folder / "deep" / "er" / "file").write_text("x")
    (guard.folder / "deep").chmod(0o500)
    words = [sys.executable, "-c", CHILD]
    # close_fds=False: even so the child must not hold the janitor's pipe open.
    child = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, start_new_session=True, close_fds=False)
    print(child.pid, int(child.stdout.readline()), guard.folder, flush=True)
    how = sys.stdin.readline().strip()
    if how == "raise":
        raise RuntimeError("in the middle")
print("ended", flush=True)
"""


def start_gate(tmp_path, **options):
    """Start a gate with a child and a grandchild; return it, their process ids, and its folder."""
    environ = dict(os.environ) | {"TMPDIR": str(tmp_path)}
    gate = subprocess.Popen(
        [sys.executable, "-c", GATE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environ,
        text=True,
        **options,
    )
    child, grandchild, folder = gate.stdout.readline().split()
    return gate, [int(child), int(grandchild)], Path(folder)


def is_there(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_gate_leaves_nothing(tmp_path, number):
    gate, pids, folder = start_gate(tmp_path)
    with gate:
        assert all(is_there(pid) for pid in pids)
        assert (folder / "deep" / "er" / "file").is_file()
        gate.send_signal(number)
        gate.wait()
        assert gate.returncode == -number
        wait_until(lambda: not any(is_there(pid) for pid in pids))
        wait_until(lambda: not folder.exists())
    assert list(tmp_path.iterdir()) == []


def janitor_of(gate):
    (found,) = [child for child in psutil.Process(gate.pid).children() if "janitor.py" in " ".join(child.cmdline())]
    return found


def test_the_janitor_is_gone_after_its_work(tmp_path):
    gate, _, _ = start_gate(tmp_path)
    with gate:
        janitor = janitor_of(gate)
        gate.kill()
        wait_until(lambda: not is_there(janitor.pid))


@pytest.mark.parametrize(
    ("how", "code", "out"), [("leave", 0, "ended\n"), ("raise", 1, "")], ids=["normal end", "exception"]
)
def test_when_guarded_is_left_nothing_is_left(tmp_path, how, code, out):
    gate, pids, folder = start_gate(tmp_path)
    with gate:
        janitor = janitor_of(gate)
        said, errors = gate.communicate(how, timeout=WAIT_S)
    assert (gate.returncode, said) == (code, out), errors
    assert ("RuntimeError: in the middle" in errors) == (how == "raise")
    # At once: the gate itself waited for all of it.
    assert not folder.exists()
    assert not any(is_there(pid) for pid in [*pids, janitor.pid])


def test_ctrl_c_in_the_terminal_leaves_nothing(tmp_path):
    gate, pids, folder = start_gate(tmp_path, start_new_session=True)
    with gate:
        os.killpg(gate.pid, signal.SIGINT)
        assert "KeyboardInterrupt" in gate.communicate(timeout=WAIT_S)[1]
    assert not folder.exists()
    assert not any(is_there(pid) for pid in pids)


def test_signals_do_not_end_the_janitor(tmp_path):
    gate, pids, folder = start_gate(tmp_path)
    with gate:
        janitor = janitor_of(gate)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            janitor.send_signal(number)
        gate.kill()
        wait_until(lambda: not folder.exists() and not any(is_there(pid) for pid in pids))


def test_a_gate_whose_janitor_was_killed_cleans_up_itself(tmp_path):
    gate, pids, folder = start_gate(tmp_path)
    with gate:
        janitor_of(gate).kill()
        assert gate.communicate("leave", timeout=WAIT_S)[0] == "ended\n"
    assert not folder.exists()
    assert not any(is_there(pid) for pid in pids)


def test_other_processes_survive(tmp_path):
    strangers = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=dict(os.environ) | variables)
        for variables in ({}, {MARKER: "another"})
    ]
    try:
        gate, _, folder = start_gate(tmp_path)
        with gate:
            gate.kill()
            wait_until(lambda: not folder.exists())
        with guarded(tmp_path):
            pass
        assert [stranger.poll() for stranger in strangers] == [None, None]
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


def test_the_janitor_of_an_inner_gate_survives_the_outer_sweep(tmp_path):
    """A gate that runs a gate: the outer one's end must not keep the inner one's janitor from its work."""
    with guarded(tmp_path) as outer:
        environ = dict(os.environ) | outer.variables | {"TMPDIR": str(tmp_path)}
        words = [sys.executable, "-c", GATE]
        gate = subprocess.Popen(
            words,
            env=environ,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        *pids, folder = gate.stdout.readline().split()
    with gate:
        gate.wait(WAIT_S)
    wait_until(lambda: not Path(folder).exists() and not any(is_there(int(pid)) for pid in pids))


def test_the_exit_code_of_a_swept_child_is_kept(tmp_path):
    with guarded(tmp_path) as guard:
        environ = dict(os.environ) | guard.variables
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environ)
    assert child.wait(WAIT_S) == -signal.SIGKILL


def test_a_sweep_without_anything_to_do_is_done():
    assert sweep("no process has this") is True


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path):
    with pytest.raises(BenchError, match="nowhere"), guarded(tmp_path / "nowhere"):
        pass


def test_remove_does_not_follow_links(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    made = tmp_path / "made"
    made.mkdir()
    (made / "link").symlink_to(kept)
    assert remove(made) is True
    assert kept.stat().st_mode & 0o777 == 0o500
    assert remove(made) is True, "nothing to remove"
