"""The folders that a gate leaves: a run for each arm, with manifest and records, like any other run."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.environment import fingerprint, passed_variables, write_manifest
from bench.run import MANIFEST_FILE, RECORDS_FILE
from bench.runner import Stamp
from bench.variables import fixed_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.gate.arms import Arm
    from bench.gate.config import GateConf
    from bench.plan import Cell


def open_folders(
    folder: Path,
    command: str,
    conf: GateConf,
    arms: Mapping[str, Arm],
    cells: Mapping[str, Sequence[Cell]],
    environments: Mapping[str, Mapping[str, Any]],
) -> dict[str, Stamp]:
    """Make the folder of each arm with its manifest and no records yet; return what the records of each arm carry.

    Args:
        folder: of the gate.
        command: that repeats it.
        conf: its configuration.
        arms: by name.
        cells: of each arm.
        environments: of each arm, see ``bench.environment``.
    """
    gate, stamps = uuid.uuid4().hex, {}
    for name, arm in arms.items():
        stamps[name] = Stamp(uuid.uuid4().hex, fingerprint(environments[name]))
        own = folder / name
        own.mkdir()
        manifest = {
            "run": stamps[name].run,
            "gate": gate,
            "arm": name,
            "revision": asdict(arm.revision),
            "version": arm.environment.version,
            "machine": stamps[name].machine,
            "environments": {stamps[name].machine: environments[name]},
            **_of_the_gate(command, conf),
            "cells": [cell.to_json() for cell in cells[name]],
        }
        write_manifest(own / MANIFEST_FILE, manifest)
        (own / RECORDS_FILE).touch()
    return stamps


def _of_the_gate(command: str, conf: GateConf) -> dict[str, Any]:
    """Return what is the same in every arm, by the names that the manifest of any run has."""
    return {
        "command": command,
        "suite": "none",
        "variables": {**fixed_variables(Path("<private>")), **passed_variables(conf.pass_variables)},
        "protocol": {
            "name": f"gate {conf.name}",
            "warmup_rounds": conf.warmup_rounds,
            "rounds": conf.max_rounds,
            "budget_s": conf.budget_s,
            "sample_timeout_s": conf.sample_timeout_s,
            "passes": [],
            "max_steal": conf.max_steal,
            "max_foreign_cpu": conf.max_foreign_cpu,
            "max_reruns": 0.0,
        },
        "precision": None,
        "seed": conf.seed,
        "jobs": [],
        "preparations": [],
        "models": {},
    }
