"""Scratch folders: each process removes its own and nobody else's."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loader.artifacts import workshop
from loader.artifacts.compile import compile_model
from loader.runtime import scratch
from loader.runtime.scratch import Scratch, sweep
from tests.support.leftovers import left_by_a_killed_process
from tests.support.tiny_bert import make_tiny_bert

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="starts of processes"),
]

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
USE = """
import sys
from loader.runtime.scratch import Scratch
print(Scratch(sys.argv[1]).path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


def changed(path, pattern, text):
    """Give a scratch folder another name, of which one part differs."""
    name, count = re.subn(pattern, text, path.name)
    assert count == 1
    return path.rename(path.with_name(name))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path):
    folder = left_by_a_killed_process(tmp_path)
    (folder / "sub").mkdir()
    (folder / "sub" / "weights").write_bytes(bytes(1000))
    sweep(str(tmp_path))
    assert names(tmp_path) == []


def test_the_folder_of_a_process_that_lives_stays(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", USE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    path = Path(process.stdout.readline().removesuffix("\n"))
    own = Scratch(str(tmp_path))
    sweep(str(tmp_path))
    assert sorted([path.name, Path(own.path).name]) == names(tmp_path)
    process.kill()
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    sweep(str(tmp_path))  # dead, though nobody has waited for it
    assert names(tmp_path) == [Path(own.path).name]
    process.communicate()


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        # Of another machine, another container, or before a restart.
        (r"^\.scratch-[0-9a-f]{16}", ".scratch-" + "0" * 16),
        # No names that we give.
        (r"^\.scratch-", ".old-"),
        (r"-[0-9a-f]{12}$", "-notes"),
        ("$", ".bak"),
        ("$", "\n"),
        (r"^\.scratch-[0-9a-f]{16}-\d+", ".scratch-" + "0" * 16),
    ],
)
def test_what_is_not_proven_to_be_a_leftover_of_ours_stays(tmp_path, pattern, text):
    folder = changed(left_by_a_killed_process(tmp_path), pattern, text)
    sweep(str(tmp_path))
    assert names(tmp_path) == [folder.name]


def test_a_process_number_that_is_used_again_keeps_nothing_alive(tmp_path):
    folder = left_by_a_killed_process(tmp_path)
    changed(folder, r"(?<=^.{26})\d+", str(os.getpid()))
    sweep(str(tmp_path))
    assert names(tmp_path) == []


def test_a_link_of_that_name_leads_nowhere(tmp_path):
    folder = left_by_a_killed_process(tmp_path / "folder")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    folder.rmdir()
    folder.symlink_to(kept)
    sweep(str(tmp_path / "folder"))
    assert names(kept) == ["file"]


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_the_folder_of_another_user_stays(tmp_path):
    folder = left_by_a_killed_process(tmp_path)
    os.chown(folder, 12345, 12345)
    sweep(str(tmp_path))
    assert names(tmp_path) == [folder.name]


def test_the_process_in_another_container_with_this_number_is_not_asked(tmp_path):
    """A process of another process namespace is not seen here: its folder is not taken for a leftover."""
    unshare = shutil.which("unshare")
    words = [unshare or "unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", USE, str(tmp_path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) if unshare else None
    name = process.stdout.readline().strip() if process else ""
    if not name:
        pytest.skip("no other process namespace can be made")
    sweep(str(tmp_path))
    assert names(tmp_path) == [Path(name).name]
    process.communicate()


def test_where_proc_shows_other_numbers_nothing_is_taken_for_a_leftover(tmp_path):
    unshare = shutil.which("unshare")
    code = "import sys; from loader.runtime.scratch import sweep; sweep(sys.argv[1]); print('swept')"
    words = [unshare or "unshare", "--pid", "--fork", sys.executable, "-c", code, str(tmp_path)]
    folder = left_by_a_killed_process(tmp_path)
    done = subprocess.run(words, capture_output=True, text=True, check=False) if unshare else None
    if done is None or done.stdout != "swept\n":
        pytest.skip("no other process namespace can be made")
    assert names(tmp_path) == [folder.name]


def test_remove_leaves_another_folder_in_its_place(tmp_path):
    own = Scratch(str(tmp_path))
    os.rename(own.path, tmp_path / "moved")
    os.mkdir(own.path)
    own.remove()
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("umask", ["000", "077", "777"])
def test_it_is_for_this_user_alone_whatever_the_umask(python, tmp_path, umask):
    code = """
import os, sys
os.umask(int(sys.argv[2], 8))
from loader.runtime.scratch import Scratch
path = Scratch(sys.argv[1]).path
while path != sys.argv[3]:
    print(oct(os.stat(path).st_mode & 0o777))
    path = os.path.dirname(path)
"""
    done = python(code, str(tmp_path / "a" / "b"), umask, str(tmp_path))
    assert (done.code, done.out) == (0, "0o700\n" * 3), done


class TestOutput:
    """``compile_model(..., output=...)``"""

    def test_folders_beside_the_output_stay(self, tmp_path, tiny):
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        users = (f"out.{gone.pid}.0123abcd.new", f"out.{gone.pid}.x.new", "out.notes.new", ".scratch-x", "out.1.2.new")
        for name in users:
            (tmp_path / name).mkdir()
            (tmp_path / name / "thesis.tex").write_text("years of work")
        dead = left_by_a_killed_process(tmp_path)
        compile_model(str(tiny), "int8", output=tmp_path / "out")
        assert names(tmp_path) == sorted(["out", *users])
        assert not dead.exists()
        assert all(names(tmp_path / name) == ["thesis.tex"] for name in users)

    def test_nothing_is_left_after_a_failure(self, tmp_path, tiny):
        (tmp_path / "out").mkdir()
        with pytest.raises(KeyboardInterrupt):
            compile_model(str(tiny), "int8", output=tmp_path / "out", progress=interrupt)
        assert names(tmp_path) == ["out"]

    def test_the_output_is_for_this_user_alone_whatever_the_umask(self, python, tmp_path, tiny):
        code = """
import os, sys
os.umask(0)
from loader import compile_model
compile_model(sys.argv[1], "int8", output=sys.argv[2])
"""
        done = python(code, str(tiny), str(tmp_path / "a" / "b" / "out"))
        assert done.code == 0, done
        paths = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
        assert [path for path in paths if path.stat().st_mode & 0o077] == []


def interrupt(step, done):
    raise KeyboardInterrupt


class TestStore:
    def test_only_the_store_that_is_locked_is_swept(self, own_cache, tmp_path, monkeypatch):
        """Also where the variable points elsewhere before a preparation in another thread has ended."""
        with workshop.Workshop() as shop:
            mine = Path(shop.folder())
            somebodys = left_by_a_killed_process(tmp_path / "another" / "artifacts")
            monkeypatch.setenv("EMBEDDING_LOADER_CACHE", str(tmp_path / "another"))
        assert somebodys.exists()
        assert not mine.exists()

    def test_another_machine_on_the_same_disk_keeps_what_it_is_making(self, own_cache):
        """Its lock may not be seen here: many shared disks do not pass locks on."""
        theirs = changed(left_by_a_killed_process(own_cache / "artifacts"), "(?<=^.scratch-).{16}", "f" * 16)
        with workshop.Workshop():
            pass
        assert theirs.exists()

    @pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
    def test_what_another_user_prepared_is_neither_evicted_nor_replaced(self, own_cache, tiny, monkeypatch):
        folder = Path(compile_model(str(tiny), "int8"))
        os.chown(folder, 12345, 12345)
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "0")
        assert workshop.evict() == []
        with pytest.raises(workshop.CacheError, match="belongs to another user"):
            compile_model(str(tiny), "int8")
        assert folder.exists()
        assert [name for name in names(folder.parent) if name.startswith(scratch.PREFIX)] == []
