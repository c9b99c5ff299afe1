"""The workflows of this project and what a contributor's tools read: valid, and in step with everything else."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
WORKFLOWS = sorted(WORKFLOW.parent.iterdir())
WHEELS = WORKFLOW.with_name("wheels.yml")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)) | {".venv/ready"}
MAKE = re.compile(r"(?:^|[`'\s])make ((?:\.venv/)?[a-z][a-z-]*)(?=[\s`',.]|$)", re.MULTILINE)
"""A command of make, in a script or in prose."""


def jobs(workflow=WORKFLOW):
    return yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]


def steps(workflow):
    return [step for job in jobs(workflow).values() for step in job["steps"]]


each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)


def check(path, schema):
    # The schemas come with the checker; a proxy that is not there makes sure of that.
    environ = os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)


@pytest.mark.process
@each_workflow
@pytest.mark.parametrize(
    ("schema", "line"),
    [("vendor.github-workflows", "runs-on:"), ("custom.github-workflows-require-timeout", "timeout-minutes:")],
)
def test_the_workflow_is_valid_and_mistakes_are_found(workflow, schema, line, tmp_path):
    done = check(workflow, schema)
    assert done.returncode == 0, done.stdout + done.stderr
    text = workflow.read_text(encoding="utf-8")
    assert line in text
    (tmp_path / "ci.yml").write_text(text.replace(line, f"x-{line}"), encoding="utf-8")
    assert check(tmp_path / "ci.yml", schema).returncode == 1


@pytest.mark.parametrize("page", [*WORKFLOWS, ROOT / "CONTRIBUTING.md", ROOT / "README.md"], ids=lambda path: path.name)
def test_what_is_made_exists(page):
    asked = set(MAKE.findall(page.read_text(encoding="utf-8")))
    assert asked
    assert asked <= TARGETS


def test_every_version_that_is_promised_is_tested():
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    promised = re.findall(r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(classifiers), re.MULTILINE)
    for name in ("check", "test"):
        assert jobs()[name]["strategy"]["matrix"]["python"] == promised


@each_workflow
def test_nothing_of_a_pull_request_becomes_a_command(workflow):
    settings = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert settings["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in str(settings)
    assert not [step["run"] for step in steps(workflow) if "${{" in step.get("run", "")]
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_every_job_ends(workflow):
    assert all(job["timeout-minutes"] <= 90 for job in jobs(workflow).values())


@each_workflow
def test_actions_are_pinned_to_a_version(workflow):
    assert all(re.fullmatch(r"[\w/-]+@(v\d+|release/v\d+)", step["uses"]) for step in steps(workflow) if "uses" in step)


def test_only_what_was_tested_is_published_and_by_nobody_else():
    publish = jobs(WHEELS)["publish"]
    assert set(publish["needs"]) == {name for name in jobs(WHEELS) if name.startswith("test")}
    assert publish["if"] == "github.event_name == 'release'"
    assert publish["permissions"] == {"id-token": "write"}
    assert not [step for step in publish["steps"] if "run" in step]
    assert [name for name, job in jobs(WHEELS).items() if "permissions" in job] == ["publish"]
    assert "secrets." not in WHEELS.read_text(encoding="utf-8")


def test_every_wheel_runs_on_its_system_before_it_is_published():
    from loader.encoder.native.wheels.targets import TARGETS

    runs_on = {
        "manylinux": {"ubuntu-24.04", "ubuntu-24.04-arm"},
        "macosx": {"macos-15", "macos-15-intel"},
        "win": {"windows-2025"},
    }
    assert set(jobs(WHEELS)["test"]["strategy"]["matrix"]["os"]) == set().union(*runs_on.values())
    assert set(jobs(WHEELS)["test-musl"]["strategy"]["matrix"]["os"]) == runs_on["manylinux"]
    families = {re.match("[a-z]+?(?=_|$)", target.platform)[0] for target in TARGETS}
    assert families == {*runs_on, "musllinux", "any"}


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="the shell of the runners")
def test_the_scripts_are_written_in_their_shell():
    scripts = [step["run"] for workflow in WORKFLOWS for step in steps(workflow) if "run" in step]
    for script in scripts:
        assert subprocess.run(["bash", "-n", "-c", script], timeout=60).returncode == 0, script


def test_the_hooks_use_the_linter_of_the_tests():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    pinned = re.search(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    (rev,) = (repo["rev"] for repo in hooks["repos"] if repo["repo"].endswith("/ruff-pre-commit"))
    assert rev == f"v{pinned[1]}"
    for path in ("reports/cold/report.md", "tests/data/records-schema-1.jsonl"):
        assert re.search(hooks["exclude"], path)
        assert (ROOT / path).exists()
    assert not re.search(hooks["exclude"], "bench/report/document.py")


@pytest.mark.process
def test_no_file_lacks_its_attributes():
    """Line ends are those of Unix everywhere; what is not text is never changed."""
    kinds = {".png": "unset", ".npz": "unset", ".xz": "unset", ".py": "auto", ".md": "auto", ".svg": "auto"}
    paths = [f"reports/any{suffix}" for suffix in kinds]
    try:
        done = subprocess.run(
            ["git", "check-attr", "text", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    assert [line.rpartition(": ")[2] for line in done.stdout.splitlines()] == list(kinds.values())
