"""A run, read back from its folder: the one way for everything that reports, compares, merges or continues it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.folder import MANIFEST_FILE, RECORDS_FILE
from bench.data.manifest import read_manifest
from bench.data.records import read_records
from bench.errors import ConfigError, RecordError
from bench.plan.config import QUALITY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.data.manifest import Manifest
    from bench.data.records import Record

REPORTED = ("environments", "cells")
"""The fields without which a run cannot be reported."""


@dataclass(frozen=True)
class Run:
    """A run of start-up costs, which may be one that was merged from several.

    Attributes:
        folder: where it is, or goes.
        manifest: how it was measured.
        records: all of them, in the order they were written.
    """

    folder: Path
    manifest: Manifest
    records: Sequence[Record]


def read_run(folder: Path, *, needs: Sequence[str] = REPORTED) -> Run:
    """Return the run in a folder.

    Args:
        folder: of the run.
        needs: fields of the manifest that must be there; old runs do not have all.

    Raises:
        ConfigError: it is a run of suite=quality.
        RecordError: there is no run, or it is damaged: a field is missing or has the wrong type, a line is not a
            record, or a record's machine is not described.
    """
    path = folder / MANIFEST_FILE
    manifest = read_manifest(path)
    if any(job.get("suite") == {"name": QUALITY} for job in manifest.jobs):
        raise ConfigError(f"{folder} is a run of suite={QUALITY}, which has no start-up samples. Leave it out.")
    lacking = manifest.lacking(needs)
    if lacking:
        raise RecordError(
            f"{path} is damaged, or its run did not measure start-up costs: it lacks {', '.join(lacking)}. Leave the "
            "run out, or take another copy of it."
        )
    try:
        records = read_records(folder / RECORDS_FILE)
    except RecordError as error:
        raise RecordError(f"{folder} is damaged, or its run did not measure start-up costs: {error}") from error
    strangers = sorted({record.machine for record in records} - set(manifest.environments))
    if strangers:
        raise RecordError(
            f"{folder} is damaged: its manifest does not describe the machine {', '.join(map(repr, strangers))} of "
            "some records. Leave the run out, or take another copy of it."
        )
    return Run(folder, manifest, records)
