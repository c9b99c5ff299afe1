"""The examples of the gate in CI: valid for their systems, with commands that exist, and exit codes that are kept."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

EXAMPLES = ROOT / "docs" / "examples" / "ci"
PAGE = ROOT / "docs" / "how-to" / "gate.md"
CHECKS = {
    "github.yml": ("vendor.github-workflows", "default"),
    "gitlab.yml": ("vendor.gitlab-ci", "gitlab-ci"),
}


def load(name):
    return yaml.safe_load((EXAMPLES / name).read_text())


def scripts(name):
    """Return what the shell runs, one text for each step."""
    if name == "gitlab.yml":
        return ["\n".join(load(name)["start-up-gate"]["script"])]
    return [step["run"] for step in load(name)["jobs"]["gate"]["steps"] if "run" in step]


def gate_commands():
    """Return the words of each command of the gate in the examples and on their page."""
    page = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    lines = "\n".join([page, *(script for name in CHECKS for script in scripts(name))]).splitlines()
    found = [shlex.split(line.partition("||")[0]) for line in lines if line.strip().startswith("python -m bench.gate")]
    assert len(found) > len(CHECKS)
    return [words[3:] for words in found]


def check(path, schema, transform):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    if transform != "default":
        command += ["--data-transform", transform]
    # Its schemas come with it; a proxy that is not there makes sure of that.
    environ = os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    return subprocess.run([*command, str(path)], capture_output=True, text=True, env=environ, timeout=120)


@pytest.mark.process
@pytest.mark.parametrize("name", CHECKS)
def test_an_example_is_valid(name):
    done = check(EXAMPLES / name, *CHECKS[name])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [("github.yml", "runs-on:", "runs-upon:"), ("gitlab.yml", "exit_codes: 3", "exit_codes: three")],
)
def test_a_mistake_is_found(name, right, wrong, tmp_path):
    text = (EXAMPLES / name).read_text()
    assert right in text
    (tmp_path / name).write_text(text.replace(right, wrong))
    assert check(tmp_path / name, *CHECKS[name]).returncode == 1


def test_every_example_is_checked_and_linked():
    assert {path.name for path in EXAMPLES.iterdir()} == set(CHECKS)
    assert all(f"../examples/ci/{name}" in PAGE.read_text() for name in CHECKS)


def test_every_option_exists(python):
    done = python(None, "-m", "bench.gate", "--help")
    assert done.code == 0, done.err
    known = set(re.findall(r"--[a-z][a-z-]*", done.out.partition("examples:")[0]))
    for words in gate_commands():
        used = {word for word in words if word.startswith("--")}
        assert used
        assert used <= known, words


def test_every_override_is_known():
    from bench.gate.config import load_gate, make_rules

    found = [
        [word for before, word in itertools.pairwise(["", *words]) if "--" not in {before[:2], word[:2]}]
        for words in gate_commands()
    ]
    assert sum(map(len, found)) > len(CHECKS)
    for overrides in found:
        assert make_rules(load_gate(overrides)), overrides


def test_nothing_of_a_pull_request_becomes_a_command():
    workflow = load("github.yml")
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in str(workflow)
    for script in scripts("github.yml"):
        assert "${{" not in script


@pytest.fixture
def repository(tmp_path):
    """A repository whose branch has left main, which went on; and a ``python`` that only notes what it is asked."""
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*words):
        options = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *options, *words], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "fork")
    commits = {"fork": git("rev-parse", "HEAD")}
    for name, branch in (("base", "main"), ("head", "topic")):
        git("checkout", "-q", "-B", branch, commits["fork"])
        git("commit", "-q", "--allow-empty", "-m", name)
        commits[name] = git("rev-parse", "HEAD")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python").write_text('#!/bin/sh\necho "ASKED $@"\ncase "$*" in *bench.gate*) exit "$CODE";; esac\n')
    (programs / "python").chmod(0o755)

    def run(script, code, **variables):
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        command = [shutil.which("bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        environ = os.environ | {"PATH": path, "CODE": str(code)} | variables
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)

    return commits, run


@pytest.mark.process
@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 2), (3, 0), (130, 130)])
def test_what_github_makes_of_the_exit_code(repository, code, expected):
    commits, run = repository
    (script,) = (script for script in scripts("github.yml") if "bench.gate" in script)
    done = run(script, code, BASE=commits["base"], HEAD=commits["head"])
    assert done.returncode == expected, done.stderr
    assert f"--base {commits['fork']} --head {commits['head']} " in done.stdout, "not what main got since"
    assert ("::warning " in done.stdout) == (code == 3)


@pytest.mark.process
@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_gitlab_sees_the_exit_code(repository, code):
    commits, run = repository
    variables = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": commits["fork"], "CI_COMMIT_SHA": "merged"}
    (script,) = scripts("gitlab.yml")
    done = run(script, code, CI_MERGE_REQUEST_SOURCE_BRANCH_SHA=commits["head"], **variables)
    assert done.returncode == code, done.stderr
    assert f"--base {commits['fork']} --head {commits['head']} " in done.stdout
    assert "--head merged " in run(script, code, CI_MERGE_REQUEST_SOURCE_BRANCH_SHA="", **variables).stdout
    assert load("gitlab.yml")["start-up-gate"]["allow_failure"] == {"exit_codes": 3}


@pytest.mark.process
def test_the_summary_is_that_of_the_gate_if_there_is_one(repository, tmp_path):
    _, run = repository
    (script,) = (script for script in scripts("github.yml") if "SUMMARY" in script)
    summary = tmp_path / "summary.md"
    assert run(script, 0, GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert not summary.exists()
    (tmp_path / "repository" / "gate").mkdir()
    (tmp_path / "repository" / "gate" / "verdict.md").write_text("said\n")
    assert run(script, 0, GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert summary.read_text() == "said\n"
