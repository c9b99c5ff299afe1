"""Revisions and checkouts, with real repositories. The user's own repository must not notice."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from bench.errors import BenchError
from bench.gate.install.source import Revision, check_out, find_repository, has_changes, resolve
from tests.conftest import ROOT

pytestmark = pytest.mark.process

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """An environment without the configuration of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    return {name: value for name, value in os.environ.items() if name != "XDG_CONFIG_HOME"} | {"HOME": str(home)}


@pytest.fixture
def git(environ):
    """Run git as a user would."""

    def run(folder, *words, **variables):
        done = subprocess.run(
            ["git", "-C", str(folder), *words], env=environ | IDENTITY | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def repository(tmp_path, git):
    """Three commits; the first has a tag, the second a branch, the third is on main."""
    folder = tmp_path / "with a space" / "repository"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for number in (1, 2, 3):
        (folder / "number").write_text(str(number))
        git(folder, "add", "number")
        git(folder, "commit", "-q", "-m", f"Make it {number}\n\nAnd more words.")
        if number == 1:
            git(folder, "tag", "-a", "v1.0", "-m", "A release")
        if number == 2:
            git(folder, "branch", "older")
    return folder


def listing(folder):
    """Everything below: names, kinds, contents, times of change."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def test_a_revision_is_found_by_any_of_its_names(repository, git, environ):
    first = git(repository, "rev-parse", "HEAD~2")
    committed_at = git(repository, "log", "-1", "--format=%cI", first)
    for asked in ("v1.0", "HEAD~2", "older~1", first, first[:8], "HEAD^{/it 1}"):
        revision = resolve(repository, asked, environ)
        assert revision == Revision(asked, first, "Make it 1", committed_at)
        assert revision.short == first[:10]
    assert resolve(repository, "main", environ).subject == "Make it 3"


@pytest.mark.parametrize(
    "asked",
    [
        "",
        " ",
        "a b",
        "main\n",
        "main\nolder",
        "main\0",
        "\ud800",
        "--upload-pack=x",
        "--all",
        "--is-shallow-repository",
        "--show-toplevel",
        "-h",
        "^main",
        "older..main",
        "main:number",
        "HEAD^{tree}",
        "nonsense",
        "f" * 40,
        "x" * 5000,
    ],
)
def test_what_is_no_revision_is_a_message(repository, environ, asked):
    with pytest.raises(BenchError, match="has no revision") as caught:
        resolve(repository, asked, environ)
    assert repr(asked) in str(caught.value)


def test_a_branch_that_only_the_server_has_is_proposed(repository, tmp_path, git, environ):
    git(tmp_path, "clone", "-q", str(repository), "clone")
    with pytest.raises(BenchError, match="Did you mean 'origin/older'"):
        resolve(tmp_path / "clone", "older", environ)


def test_the_repository_is_found_from_a_folder_in_it(repository, environ):
    (repository / "deep" / "er").mkdir(parents=True)
    assert find_repository(repository / "deep" / "er", environ) == repository
    for folder in (repository.parent, repository / "missing"):
        with pytest.raises(BenchError, match="not in the working tree"):
            find_repository(folder, environ)


def test_without_git_there_is_a_message(repository, environ, tmp_path):
    for function in (find_repository, has_changes):
        with pytest.raises(BenchError, match="needs git, which is not on the PATH"):
            function(repository, environ | {"PATH": str(tmp_path)})


def test_a_checkout_is_the_commit_and_knows_the_tags(repository, git, tmp_path, environ):
    target = tmp_path / "scratch" / "base"
    check_out(repository, resolve(repository, "older", environ), target, environ)
    assert (target / "number").read_text() == "2"
    assert git(target, "rev-parse", "HEAD") == git(repository, "rev-parse", "older")
    assert git(target, "describe", "--tags").startswith("v1.0-1-g")
    assert git(target, "status", "--porcelain") == ""


def test_the_users_repository_is_unchanged(repository, git, tmp_path, environ):
    (repository / "number").write_text("changed, and not committed")
    (repository / "new").write_text("untracked")
    os.utime(repository / ".git" / "index", ns=(1, 1))
    before = listing(repository)
    assert find_repository(repository, environ) == repository
    assert has_changes(repository, environ)
    revision = resolve(repository, "older", environ)
    check_out(repository, revision, tmp_path / "target", environ)
    assert listing(repository) == before
    assert git(repository, "worktree", "list").count("\n") == 0


def test_only_changes_of_tracked_files_count(repository, git, environ):
    (repository / "new").write_text("untracked")
    os.utime(repository / "number", ns=(1, 1))
    assert not has_changes(repository, environ)
    (repository / "number").write_text("4")
    assert has_changes(repository, environ)
    git(repository, "add", "number")
    assert has_changes(repository, environ)


def test_no_hook_runs(repository, git, tmp_path, environ):
    """Hooks of the repository, of the global configuration and of the template all write the same file."""
    ran = tmp_path / "ran"
    for folder in (repository / ".git" / "hooks", tmp_path / "hooks", tmp_path / "template" / "hooks"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("post-checkout", "reference-transaction", "post-index-change"):
            (folder / name).write_text(f"#!/bin/sh\necho {name} >> '{ran}'\n")
            (folder / name).chmod(0o755)
    git(repository, "checkout", "-q", "older")
    assert "post-checkout" in ran.read_text(), "the hooks work"
    ran.unlink()
    git(repository, "config", "--global", "core.hooksPath", str(tmp_path / "hooks"))
    git(repository, "config", "--global", "init.templateDir", str(tmp_path / "template"))
    environ["GIT_TEMPLATE_DIR"] = str(tmp_path / "template")
    check_out(repository, resolve(repository, "v1.0", environ), tmp_path / "target", environ)
    assert not ran.exists()
    assert not (tmp_path / "target" / ".git" / "hooks").exists()


def test_a_gate_that_a_hook_started_does_not_use_the_hooks_repository(repository, git, tmp_path, environ):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    environ |= {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "GIT_CONFIG_PARAMETERS": "'core.bare'='true'",
        "GIT_PREFIX": "deep/",
    }
    before = listing(other)
    assert find_repository(repository, environ) == repository
    assert not has_changes(repository, environ)
    check_out(repository, resolve(repository, "older", environ), tmp_path / "target", environ)
    assert (tmp_path / "target" / "number").read_text() == "2"
    assert listing(other) == before
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_shallow_clone_works_and_says_what_it_lacks(repository, git, tmp_path, environ, depth):
    git(tmp_path, "clone", "-q", f"--depth={depth}", f"file://{repository}", "shallow")
    shallow = tmp_path / "shallow"
    git(shallow, "config", "--global", "clone.rejectShallow", "true")
    before = listing(shallow)
    for asked in ("v1.0", f"HEAD~{depth}", git(repository, "rev-parse", "v1.0^{commit}")):
        with pytest.raises(BenchError, match=r"shallow(.|\n)*fetch-depth: 0(.|\n)*GIT_DEPTH: 0"):
            resolve(shallow, asked, environ)
    oldest = resolve(shallow, f"HEAD~{depth - 1}", environ)
    check_out(shallow, oldest, tmp_path / "target", environ)
    assert (tmp_path / "target" / "number").read_text() == str(4 - depth)
    assert listing(shallow) == before


def test_a_commit_that_no_branch_reaches_is_checked_out(repository, git, tmp_path, environ):
    """As CI systems have it: a merge that only a detached HEAD names, in a shallow clone or not."""
    git(repository, "checkout", "-q", "--detach", "main")
    (repository / "number").write_text("merged")
    git(repository, "commit", "-q", "-a", "-m", "Merged for a check")
    merged = git(repository, "rev-parse", "HEAD")
    git(tmp_path, "init", "-q", "shallow")
    shallow = tmp_path / "shallow"
    git(shallow, "fetch", "-q", "--depth=1", f"file://{repository}", merged)
    git(repository, "checkout", "-q", "main")
    for number, source in enumerate((repository, shallow)):
        target = tmp_path / f"target{number}"
        check_out(source, resolve(source, merged, environ), target, environ)
        assert (target / "number").read_text() == "merged"


def test_a_working_tree_of_git_worktree_will_do(repository, git, tmp_path, environ):
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"), "older")
    tree = find_repository(tmp_path / "tree", environ)
    check_out(tree, resolve(tree, "HEAD", environ), tmp_path / "target", environ)
    assert (tmp_path / "target" / "number").read_text() == "2"


def test_a_partial_clone_gets_what_it_lacks(repository, git, tmp_path, environ):
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{repository}", "partial")
    partial = tmp_path / "partial"
    check_out(partial, resolve(partial, "v1.0", environ), tmp_path / "target", environ)
    assert (tmp_path / "target" / "number").read_text() == "1"


def test_a_checkout_that_lacks_files_is_a_message(repository, git, tmp_path, environ):
    """Git leaves them out and calls that a success."""
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{repository}", "partial")
    repository.rename(tmp_path / "the server is gone")
    partial = tmp_path / "partial"
    with pytest.raises(BenchError, match=r"Checking out v1\.0"):
        check_out(partial, resolve(partial, "v1.0", environ), tmp_path / "target1", environ)
    git(partial, "remote", "remove", "origin")
    with pytest.raises(BenchError, match=r"contents of 1 files \(number, \.\.\.\) are missing"):
        check_out(partial, resolve(partial, "v1.0", environ), tmp_path / "target2", environ)


@pytest.fixture
def with_submodule(repository, git, tmp_path, environ):
    """The repository with another one in it, at an address relative to the server's."""
    library = repository.parent / "library"
    library.mkdir()
    git(library, "init", "-q")
    (library / "code").write_text("of the library")
    git(library, "add", "code")
    git(library, "commit", "-q", "-m", "A library")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../library", "lib")
    git(repository, "commit", "-q", "-m", "Use the library")
    git(tmp_path, "clone", "-q", str(repository), "clone")
    return tmp_path / "clone"


def test_submodules_are_checked_out(with_submodule, git, tmp_path, environ):
    git(with_submodule, "config", "--global", "protocol.file.allow", "always")
    before = listing(with_submodule)
    check_out(with_submodule, resolve(with_submodule, "main", environ), tmp_path / "far" / "target", environ)
    assert (tmp_path / "far" / "target" / "lib" / "code").read_text() == "of the library"
    assert listing(with_submodule) == before


def test_a_submodule_that_cannot_be_had_is_a_message(with_submodule, tmp_path, environ):
    """Git refuses this protocol for submodules unless it is told otherwise."""
    with pytest.raises(BenchError, match=r"submodules: git submodule failed(.|\n)*transport 'file' not allowed"):
        check_out(with_submodule, resolve(with_submodule, "main", environ), tmp_path / "target", environ)


def test_a_checkout_that_fails_says_what_git_said(repository, tmp_path, environ):
    revision = Revision("gone", "f" * 40, "")
    with pytest.raises(BenchError, match=r"Checking out gone \(ffffffffff\)(.|\n)*(unable to read tree|reference)"):
        check_out(repository, revision, tmp_path / "target", environ)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(BenchError, match="already exists and is not an empty directory"):
        check_out(repository, resolve(repository, "main", environ), tmp_path / "full", environ)


def test_an_interruption_leaves_neither_git_nor_what_it_started(repository, git, tmp_path, environ):
    """Ctrl-C, or SIGTERM where the command makes the same of it, while a filter of the checkout hangs."""
    (repository / ".gitattributes").write_text("number filter=slow\n")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "-q", "-m", "Filter it")
    pid_file = tmp_path / "pid"
    git(repository, "config", "--global", "filter.slow.smudge", f"echo $$ > '{pid_file}'; exec sleep 600")
    code = """
import os, signal, sys
from pathlib import Path
from bench.gate.install.janitor import guarded
from bench.gate.install.source import check_out, resolve
signal.signal(signal.SIGTERM, signal.default_int_handler)
repository = Path(sys.argv[1])
with guarded(Path(sys.argv[2])) as guard:
    environ = os.environ | guard.variables
    check_out(repository, resolve(repository, "main", environ), guard.folder / "target", environ)
"""
    words = [sys.executable, "-c", code, str(repository), str(tmp_path)]
    with subprocess.Popen(words, env=environ, cwd=ROOT, stderr=subprocess.PIPE, text=True) as gate:
        while not (pid_file.exists() and pid_file.read_text().strip()):
            assert gate.poll() is None
            time.sleep(0.01)
        gate.terminate()
        assert "KeyboardInterrupt" in gate.communicate(timeout=60)[1]
    pid = int(pid_file.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert list(tmp_path.glob("bench-gate-*")) == []
