"""Continuing an interrupted run: with its own configuration, on the same machine, after its last complete record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.folder import COMPRESSED, MANIFEST_FILE, RECORDS_FILE, stored
from bench.data.manifest import read_manifest
from bench.data.runs import read_run
from bench.errors import ConfigError
from bench.measure.machine import describe_environment
from bench.measure.runner import Stamp
from bench.plan.config import from_plain
from bench.plan.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.data.runs import Run
    from bench.plan.config import BenchConf


@dataclass(frozen=True)
class Resumed:
    """A run that is continued.

    Attributes:
        run: what there is of it.
        configs: of its jobs.
        stamp: of its records.
        beat_iterations: those of its earlier samples.
    """

    run: Run
    configs: Sequence[BenchConf]
    stamp: Stamp
    beat_iterations: int


def reopen(folder: Path) -> Resumed:
    """Return a run that can be continued.

    A last line that was being written when the run was killed is cut off.

    Raises:
        ConfigError: it is not a run of start-up costs, or comes from another machine or version.
        RecordError: manifest or records cannot be read.
    """
    manifest = read_manifest(folder / MANIFEST_FILE)
    records_file = stored(folder / RECORDS_FILE)
    if records_file.suffix == COMPRESSED:
        raise ConfigError(
            f"{folder} is compressed, so nothing can be added to it. Unpack it: xz --decompress {records_file}"
        )
    if not manifest.run or not records_file.is_file():
        raise ConfigError(f"{folder} cannot be resumed: it is not a single run of start-up costs, or is too old")
    here = describe_environment().fingerprint
    if manifest.machine != here:
        raise ConfigError(
            f"{folder} was measured on another machine or with other versions (fingerprint {manifest.machine}, here "
            f"{here}), so it cannot continue here. Start a new run, and combine both with python -m bench.merge"
        )
    configs = [from_plain(job) for job in manifest.jobs]
    if not configs or manifest.beat_iterations is None:
        raise ConfigError(f"{folder} cannot be resumed: it is not a run of python -m bench, or is too old")
    if make_plan(configs).cells != manifest.cells:
        raise ConfigError(f"{folder} was planned by a version that measures other cells. Start a new run.")
    cut_off_half_line(records_file)
    return Resumed(read_run(folder), configs, Stamp(manifest.run, here), manifest.beat_iterations)


def cut_off_half_line(path: Path) -> None:
    """Truncate a file after its last complete line."""
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
