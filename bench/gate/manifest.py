"""The folders that a gate writes: a run for each arm, with manifest and records, like any other run."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.folder import MANIFEST_FILE, RECORDS_FILE
from bench.data.manifest import WRITTEN_EMPTY, Manifest, write_manifest
from bench.data.manifest_parts import Protocol, RecordedRevision
from bench.measure.machine import passed_variables
from bench.measure.runner import Stamp
from bench.measure.variables import fixed_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.data.environment import Environment
    from bench.gate.arms import Arm
    from bench.gate.config import GateConf
    from bench.plan.cell import Cell


def open_folders(
    folder: Path,
    command: str,
    conf: GateConf,
    arms: Mapping[str, Arm],
    cells: Mapping[str, Sequence[Cell]],
    environments: Mapping[str, Environment],
) -> dict[str, Stamp]:
    """Create the folder of each arm, with a manifest and no records yet; return the stamp for the records of each arm.

    Args:
        folder: the gate's folder.
        command: the command that repeats it.
        conf: its configuration.
        arms: the arms by name.
        cells: the cells of each arm.
        environments: the environment of each arm.
    """
    shared, stamps = _of_the_gate(command, conf), {}
    for name, arm in arms.items():
        stamps[name] = Stamp(uuid.uuid4().hex, environments[name].fingerprint)
        own = folder / name
        own.mkdir()
        manifest = replace(
            shared,
            run=stamps[name].run,
            arm=name,
            revision=_revision(arm),
            version=arm.environment.version,
            machine=stamps[name].machine,
            environments={stamps[name].machine: environments[name]},
            cells=tuple(cells[name]),
        )
        write_manifest(own / MANIFEST_FILE, manifest)
        (own / RECORDS_FILE).touch()
    return stamps


def _of_the_gate(command: str, conf: GateConf) -> Manifest:
    """Return what is the same in every arm."""
    return Manifest(
        gate=uuid.uuid4().hex,
        command=command,
        suite="none",
        variables={**fixed_variables(Path("<private>")), **passed_variables(conf.pass_variables)},
        protocol=Protocol(
            name=f"gate {conf.name}",
            warmup_rounds=conf.warmup_rounds,
            rounds=conf.max_rounds,
            budget_s=conf.budget_s,
            sample_timeout_s=conf.sample_timeout_s,
            passes=(),
            max_steal=conf.max_steal,
            max_foreign_cpu=conf.max_foreign_cpu,
            max_reruns=0.0,
        ),
        seed=conf.seed,
        rest=WRITTEN_EMPTY,
    )


def _revision(arm: Arm) -> RecordedRevision:
    found = arm.revision
    return RecordedRevision(found.commit, found.committed_at, found.subject, asked=found.asked)
