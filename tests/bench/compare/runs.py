"""Two runs to compare, made up."""

import math

import numpy as np

from bench.data.environment import PROJECT
from bench.data.records import append_record
from bench.plan.cell import BASELINE, EMPTY
from tests.bench.support import fakes
from tests.bench.support.manifests import fingerprint, write_manifest

LAZY, PLAIN = fakes.make_cell("lazy"), fakes.make_cell(BASELINE)


OTHER = fakes.make_cell("progressive")
NUMPY = fakes.make_cell("import_numpy", subject="import_numpy", engine="")
EMPTY_PROGRAM = fakes.make_cell(EMPTY, subject=EMPTY, engine="")


PROTOCOL = {"sample_timeout_s": 60.0, "max_steal": 0.05, "max_foreign_cpu": 0.15}


ENVIRONMENT = {
    "system": "Linux 6",
    "machine": "x86_64",
    "processor": "one",
    "processors_usable": 2,
    "memory_bytes": 2**33,
    "python": "CPython 3.11",
    "packages": {PROJECT: "1.0", "torch": "2.13", "numpy": None},
    "load_average_1min": 0.1,
}


def make_environment(version="1.0", load=0.1, **changes):
    packages = {**ENVIRONMENT["packages"], PROJECT: version, **changes.pop("packages", {})}
    return {**ENVIRONMENT, "packages": packages, "load_average_1min": load, **changes}


def write_run(
    folder, cells, *, version="1.0", rounds=20, seed=1, noise=0.01, drift=None, extra=(), environment=None, **manifest
):
    """Write a run: ``cells`` gives the typical total of each in ms; ``drift`` slows single rounds down."""
    folder.mkdir(parents=True)
    environment = environment or make_environment(version)
    machine, run = fingerprint(environment), manifest.get("run", folder.name)
    fields = {
        "run": run,
        "machine": machine,
        "environments": {machine: environment},
        "command": "python -m bench",
        "variables": {"HF_HUB_OFFLINE": "1"},
        "protocol": PROTOCOL,
        "seed": 1,
        "suite": "none",
        "jobs": [],
        "cells": [cell.to_json() for cell in cells],
        "preparations": [],
        "models": {},
    }
    write_manifest(folder / "manifest.json", fields | manifest)
    rng = np.random.default_rng(seed)
    (folder / "records.jsonl").touch()
    for number in range(rounds):
        for cell, total_ms in cells.items():
            taken = total_ms * (drift(number) if drift else 1.0) * math.exp(rng.normal(0, noise))
            record = fakes.make_record(cell, number + 1, taken, run=run, machine=machine)
            append_record(folder / "records.jsonl", record)
    for record in extra:
        append_record(folder / "records.jsonl", record)
    return folder


def only(comparison):
    (difference,) = comparison.differences
    return difference


def failed(cell=LAZY, version="1.1", run="head", status="failed", message="it broke"):
    machine = fingerprint(make_environment(version))
    return fakes.make_record(cell, 1, status=status, message=message, run=run, machine=machine)
