"""Which commit a run records: that of the checkout that holds the code, or none; never an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.data.fields import to_json
from bench.data.manifest import read_manifest
from bench.measure.revision import describe_revision
from tests.conftest import ROOT

pytestmark = pytest.mark.process


def git(folder, *words):
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """Settings of git that are nobody's."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example.org")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-02T03:04:05+02:00")


@pytest.fixture
def checkout(tmp_path, environ):
    """A repository that holds a package named bench."""
    folder = tmp_path / "a checkout"
    (folder / "bench").mkdir(parents=True)
    (folder / "bench" / "__init__.py").write_text("")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Größe | $x$ `y`\nand this line\n\nand more")
    return folder


def test_of_a_checkout(checkout):
    assert to_json(describe_revision(checkout)) == {
        "commit": git(checkout, "rev-parse", "HEAD"),
        "committed_at": "2026-01-02T03:04:05+02:00",
        "dirty": False,
        "subject": "Größe | $x$ `y` and this line",
    }


def test_changes_of_tracked_files_are_said(checkout):
    (checkout / "reports").mkdir()
    (checkout / "reports" / "new").write_text("")
    assert describe_revision(checkout).dirty is False
    (checkout / "bench" / "__init__.py").write_text("changed = True")
    assert describe_revision(checkout).dirty is True


def test_the_folder_that_holds_the_code_counts_and_not_where_one_is(checkout, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    git(Path(), "init", "-q")
    (tmp_path / "elsewhere" / "bench").mkdir()
    (tmp_path / "elsewhere" / "bench" / "other").write_text("")
    git(Path(), "add", ".")
    git(Path(), "commit", "-q", "-m", "Another")
    assert describe_revision(checkout).subject.startswith("Größe")


def test_a_caller_that_is_a_hook_of_another_repository(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nothing"))
    assert describe_revision(checkout).subject.startswith("Größe")


def test_a_checkout_of_something_else_that_holds_the_environment(checkout):
    installed = checkout / "venv" / "site-packages"
    (installed / "bench").mkdir(parents=True)
    assert describe_revision(installed) is None


def test_nothing_is_written(checkout):
    before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}
    os.utime(checkout / "bench" / "__init__.py")  # git would refresh its index
    before[checkout / "bench" / "__init__.py"] = (checkout / "bench" / "__init__.py").stat().st_mtime_ns
    describe_revision(checkout)
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*")} == before


def test_no_checkout_no_commit_no_folder(tmp_path, environ):
    (tmp_path / "bench").mkdir()
    assert describe_revision(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert describe_revision(tmp_path) is None
    assert describe_revision(tmp_path / "missing") is None


def test_no_git(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_revision(checkout) is None


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho nonsense\n", "no program", "#!/missing\n"])
def test_a_git_that_does_not_work(script, checkout, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(script)
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    assert describe_revision(checkout) is None


def test_a_git_that_hangs(checkout, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setattr("bench.measure.revision.TIMEOUT_S", 0.2)
    assert describe_revision(checkout) is None


def test_a_broken_index_leaves_the_commit(checkout):
    (checkout / ".git" / "index").write_text("garbage")
    described = describe_revision(checkout)
    assert to_json(described)["dirty"] is None
    assert described.commit == git(checkout, "rev-parse", "HEAD")


@pytest.mark.real_model
def test_a_run_says_what_it_measured(tmp_path):
    words = ["strategy=lazy", "protocol=quick", "protocol.rounds=1", "protocol.warmup_rounds=0", "protocol.passes=[]"]
    words += ["baseline=false", "quiet=true", f"reports_dir={tmp_path}", "run_name=run"]
    command = [sys.executable, "-m", "bench", *words, f"machine_lock={tmp_path / 'lock'}"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "run" / "manifest.json").revision == describe_revision(ROOT)
