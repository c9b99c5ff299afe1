"""Several runs, of one machine or many, as one.

Only runs that were measured alike are pooled: a run with other limits for its samples is refused, and each record keeps
the fingerprint of its machine; the report compares nothing across machines.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.data.conditions import sample_limits
from bench.data.fields import to_json
from bench.data.folder import MANIFEST_FILE, RECORDS_FILE, new_folder
from bench.data.manifest import Manifest, write_manifest
from bench.data.runs import Run, read_run
from bench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from bench.data.records import Record

T = TypeVar("T")

MERGED = ("environments", "command", "variables", "jobs", "cells", "preparations", "models")
"""The fields without which a run cannot be merged."""

UNITED = ("environments", "jobs", "cells", "preparations", "models", "merged")
"""The fields of a merged manifest that cover all its runs; everything else is in ``merged``, once for each run."""

WRITTEN_EMPTY: Mapping[str, object] = {
    "run": None,
    "machine": None,
    "environments": {},
    "variables": {},
    "protocol": None,
    "jobs": [],
    "cells": [],
    "preparations": [],
    "models": {},
}
"""What a merged manifest has even if it is empty."""


def merge(folders: Sequence[Path], output: Path) -> Path:
    """Combine the runs into a new one and return its folder; a run given twice counts once.

    Raises:
        ConfigError: the runs do not belong together, or ``output`` holds a run.
        RecordError: a folder does not hold a run that this version can read.
    """
    run = unite(read_parts(folders), output)
    folder = new_folder(output)
    with replacing(folder / MANIFEST_FILE) as partial:
        write_manifest(partial, run.manifest)
    with replacing(folder / RECORDS_FILE) as partial:
        partial.write_text("".join(record.to_line() for record in run.records), encoding="utf-8")
    return folder


def unite(runs: Sequence[Run], folder: Path) -> Run:
    """Return several runs as one, which ``folder`` is to hold.

    Raises:
        ConfigError: they hold different samples of the same cell and round of one run.
    """
    return Run(folder, _manifest([run.manifest for run in runs]), _records(runs))


def read_parts(folders: Iterable[Path]) -> list[Run]:
    """Return the runs that are to be merged.

    Raises:
        ConfigError: they do not belong together.
        RecordError: a folder does not hold a run that this version can read.
    """
    runs = [_read_run(folder) for folder in folders]
    if not runs:
        raise ConfigError("There is no run to merge: name the folder of at least one")
    first: dict[str, tuple[Path, object]] = {}
    for run in runs:
        for manifest in run.manifest.runs:
            for name, value in _must_agree(manifest):
                folder, expected = first.setdefault(name, (run.folder, value))
                if value != expected:
                    raise ConfigError(
                        f"{run.folder} was measured with {name} {value}, {folder} with {expected}: their samples "
                        "cannot be combined. Merge only runs that agree, or measure one of them again."
                    )
    return runs


def machines(runs: Iterable[Run]) -> list[str]:
    """Return the fingerprints of all machines."""
    return list(dict.fromkeys(machine for run in runs for machine in run.manifest.environments))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to the file, which is moved into place when it is complete."""
    # A name that is unique across machines.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_run(folder: Path) -> Run:
    run = read_run(folder, needs=MERGED)
    if not all(part.run for part in run.manifest.runs):
        raise ConfigError(
            f"{folder} comes from a version that did not identify runs, so its samples cannot be told from those of "
            "another run. Leave it out, or measure it again."
        )
    return run


def _must_agree(run: Manifest) -> Iterator[tuple[str, object]]:
    """Yield, by a descriptive name, what must be the same in all runs, or in all runs of the same machine."""
    yield from sample_limits(run.protocol).items()
    for name, value in run.variables.items():
        yield f"the variable {name} on machine {run.machine}", value


def _records(runs: Iterable[Run]) -> list[Record]:
    found: dict[Hashable, tuple[Record, Path]] = {}
    for run in runs:
        for record in run.records:
            known, folder = found.setdefault(record.key, (record, run.folder))
            if known != record:
                raise ConfigError(
                    f"{folder} and {run.folder} hold different samples of the same cell and round of one run "
                    f"({record.cell.label()}, round {record.round}): they are copies that diverged. Merge only one."
                )
    return [record for record, _ in found.values()]


def _manifest(manifests: Sequence[Manifest]) -> Manifest:
    runs = _distinct((run for manifest in manifests for run in _runs(manifest)), Manifest.to_json)
    plain = [run.to_json() for run in runs]
    alike = {key for key in plain[0] if all(run.get(key) == plain[0][key] for run in plain)}
    shared = Manifest.from_json({key: plain[0][key] if key in alike else None for run in plain for key in run})
    environments = _first_of_each(manifest.environments for manifest in manifests)
    return replace(
        shared,
        run=None,
        machine=next(iter(environments)) if len(environments) == 1 else None,
        environments=environments,
        # Repeating the merged run means repeating each part.
        command="\n".join(dict.fromkeys(run.command or "" for run in runs)),
        variables={name: value for name, value in runs[0].variables.items() if _all_have(runs, name, value)},
        protocol=shared.protocol if "seed" in alike else None,
        jobs=_distinct((job for manifest in manifests for job in manifest.jobs), dict),
        cells=tuple(dict.fromkeys(cell for manifest in manifests for cell in manifest.cells)),
        preparations=_distinct(
            (
                replace(preparation, machine=preparation.machine or manifest.machine)
                for manifest in manifests
                for preparation in manifest.preparations
            ),
            to_json,
        ),
        models=_origins(manifests),
        merged=runs,
        rest={**shared.rest, **WRITTEN_EMPTY},
    )


def _runs(manifest: Manifest) -> Iterator[Manifest]:
    """Yield what is specific to each run in it: protocol, seed, command and so on."""
    if manifest.merged:
        yield from manifest.merged
    else:
        yield Manifest.from_json({key: value for key, value in manifest.to_json().items() if key not in UNITED})


def _all_have(runs: Iterable[Manifest], name: str, value: str) -> bool:
    return all(run.variables.get(name) == value for run in runs)


def _origins(manifests: Iterable[Manifest]) -> dict[str, str | None]:
    """Return where each model came from; several places if it differs between machines."""
    found: dict[str, dict[str, None]] = {}
    for manifest in manifests:
        for model, origin in manifest.models.items():
            found.setdefault(model, {}).update(dict.fromkeys(str(origin).split("; ")))
    return {model: "; ".join(origins) for model, origins in found.items()}


def _first_of_each(mappings: Iterable[Mapping[str, T]]) -> dict[str, T]:
    united: dict[str, T] = {}
    for mapping in mappings:
        united |= {key: value for key, value in mapping.items() if key not in united}
    return united


def _distinct(items: Iterable[T], plain: Callable[[T], object]) -> tuple[T, ...]:
    """Return each item once; those are the same whose JSON is."""
    found: dict[str, T] = {}
    for item in items:
        found.setdefault(json.dumps(plain(item), sort_keys=True), item)
    return tuple(found.values())
