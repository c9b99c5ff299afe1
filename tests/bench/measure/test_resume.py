"""A run that was killed goes on: every sample once, nothing lost, nothing taken twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from bench.data.records import append_record, read_records
from bench.errors import ConfigError
from bench.measure.resume import cut_off_half_line, reopen
from tests.bench.support import fakes
from tests.bench.support.manifests import write_manifest
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.process

SWEEP = (
    "strategy=lazy,background,progressive,quantized,cached",
    "model.key=tiny",
    "seed=7",
    "protocol=quick",
    "baseline=false",
)
ONE_ROUND = ("protocol.warmup_rounds=0", "protocol.rounds=1", "protocol.max_reruns=0")
SAMPLES = 5 * 3
"""Five strategies, three models."""


@pytest.fixture(scope="module")
def models(tiny_folder):
    return [tiny_folder(Tiny(family)) for family in ("bert", "mpnet", "distilbert")]


def start(tmp_path, *words):
    """Start a bench that shares no lock with other tests."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *words, "quiet=true", f"machine_lock={tmp_path / 'lock'}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def records_of(folder):
    path = folder / "records.jsonl"
    return read_records(path) if path.exists() else []


@pytest.mark.real_model
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_sweep_of_five_by_three_that_is_killed_twice_ends_complete(tmp_path, models):
    """kill -9 at random moments: while preparing, in a sample, while writing."""
    rng = random.Random(os.environ.get("KILL_SEED", "1"))
    folder = tmp_path / "reports" / "run"
    words = ("-m", *SWEEP, *ONE_ROUND, f"model.name={','.join(models)}", "run_name=run")
    for _ in range(2):
        with start(tmp_path, *words) as bench:
            enough = len(records_of(folder)) + rng.randint(1, 5)
            while bench.poll() is None and len(records_of(folder)) < enough:
                time.sleep(0.01)
            time.sleep(rng.random() * 0.2)
            os.kill(bench.pid, signal.SIGKILL)
        words = (f"resume={folder}",)
    before = (folder / "records.jsonl").read_bytes()
    kept = len(records_of(folder))
    with start(tmp_path, *words) as bench:
        out, err = bench.communicate(timeout=400)
    assert bench.returncode == 0, err
    records = records_of(folder)
    assert len(records) == SAMPLES
    assert set(Counter(record.key for record in records).values()) == {1}
    assert len({record.cell for record in records}) == SAMPLES
    assert {record.status for record in records} == {"ok"}, [record.message for record in records]
    assert len({record.run for record in records}) == 1
    assert kept < SAMPLES
    assert (folder / "records.jsonl").read_bytes().startswith(before[: before.rfind(b"\n") + 1]), "nothing is rewritten"
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "plots",
        "records.jsonl",
        "report.html",
        "report.md",
    ]
    assert "Report: " in out


@pytest.mark.real_model
@pytest.mark.timeout(300)
def test_a_run_that_is_complete_has_nothing_left_to_do(tmp_path, models):
    words = ("strategy=lazy", "baseline=false", "model.key=tiny", f"model.name={models[0]}", "protocol=quick")
    with start(tmp_path, *words, *ONE_ROUND, "run_name=run") as bench:
        assert bench.wait(timeout=200) == 0
    folder = tmp_path / "reports" / "run"
    before = (folder / "records.jsonl").read_bytes()
    with start(tmp_path, f"resume={folder}") as bench:
        assert bench.wait(timeout=200) == 0
    assert (folder / "records.jsonl").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["run"], "no folder of a new run is left"

    # Killed before the first sample was written: everything is taken, under the command that began the run.
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "records.jsonl").write_bytes(b"")
    with start(tmp_path, f"resume={folder}") as bench:
        assert bench.wait(timeout=200) == 0
    assert len(records_of(folder)) == 1
    assert (folder / "manifest.json").read_bytes() == manifest


def test_other_options_beside_resume_are_refused(python, tmp_path):
    done = python(None, "-m", "bench", "resume=reports/run", "strategy=lazy", f"machine_lock={tmp_path / 'lock'}")
    assert done.code == 2
    assert "Remove strategy=lazy" in done.err


def test_a_folder_that_is_no_run_is_named(python, tmp_path):
    done = python(None, "-m", "bench", "resume=nowhere", f"machine_lock={tmp_path / 'lock'}")
    assert done.code == 2
    assert "nowhere" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine": "another"}, "another machine or with other versions"),
        ({"run": None}, "not a single run"),
        ({"run": ""}, "not a single run"),
    ],
)
def test_what_cannot_be_resumed(tmp_path, changes, message):
    manifest = {"run": "r", "machine": "m", "environments": {}, "cells": [], "jobs": []} | changes
    write_manifest(tmp_path / "manifest.json", manifest)
    append_record(tmp_path / "records.jsonl", fakes.make_record())
    with pytest.raises(ConfigError, match=message):
        reopen(tmp_path)


@pytest.mark.parametrize(
    ("content", "left"), [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"half", b""), (b"a\n\xff", b"a\n")]
)
def test_a_half_line_is_cut_off(tmp_path, content, left):
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    cut_off_half_line(path)
    assert path.read_bytes() == left


def test_a_record_behind_a_cut_one_is_readable(tmp_path):
    path = tmp_path / "records.jsonl"
    append_record(path, fakes.make_record(number=1))
    path.write_bytes(path.read_bytes() + json.dumps({"schema": 2}).encode())
    cut_off_half_line(path)
    append_record(path, fakes.make_record(number=2))
    assert [record.round for record in read_records(path)] == [1, 2]
