"""``python -m bench.merge RUN... --output DIR``: several runs, of one machine or many, as one.

Nothing is pooled that was not measured alike: a run with other limits for its samples is refused, and each record keeps
the fingerprint of its machine, across which the report compares nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import QUALITY
from bench.environment import read_manifest, write_manifest
from bench.errors import EXIT_HARNESS, EXIT_INCOMPARABLE, EXIT_OK, BenchError, ConfigError, RecordError
from bench.records import Record, read_records
from bench.run import MANIFEST_FILE, RECORDS_FILE, new_folder

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence


DECIDES_ABOUT_SAMPLES = ("sample_timeout_s", "max_steal", "max_foreign_cpu")
"""Settings of a protocol by which the same sample would be kept or refused; more rounds only mean more samples."""

UNITED = ("environments", "jobs", "cells", "preparations", "models", "merged")
"""What a merged manifest has of all its runs together; everything else stands in ``merged``, once for each run."""


SHAPES: dict[str, type | tuple[type, ...]] = {
    "command": str,
    "variables": dict,
    "protocol": (dict, type(None)),
    "environments": dict,
    "jobs": list,
    "cells": list,
    "preparations": list,
    "models": dict,
}
"""What of a manifest is read here, and of which type it is."""


@dataclass(frozen=True)
class Part:
    """One of the runs to merge, which may be a merged one itself.

    Attributes:
        folder: where it is.
        manifest: see ``bench.environment``.
        records: all of them.
    """

    folder: Path
    manifest: dict[str, Any]
    records: list[Record]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What is particular to each run in it: protocol, seed, command and so on."""
        alone = {key: value for key, value in self.manifest.items() if key not in {*UNITED, "schema"}}
        return list(self.manifest.get("merged") or [alone])


def merge(folders: Sequence[Path], output: Path) -> Path:
    """Combine the runs into a new one and return its folder; a run that is given twice counts once.

    Raises:
        ConfigError: the runs do not belong together, or ``output`` holds a run.
        RecordError: a folder holds no run that this version can read.
    """
    manifest, records = unite(read_parts(folders))
    folder = new_folder(output)
    with replacing(folder / MANIFEST_FILE) as partial:
        write_manifest(partial, manifest)
    with replacing(folder / RECORDS_FILE) as partial:
        partial.write_text("".join(record.to_line() for record in records), encoding="utf-8")
    return folder


def unite(parts: Sequence[Part]) -> tuple[dict[str, Any], list[Record]]:
    """Return the manifest and the records of several runs as one.

    Raises:
        ConfigError: they hold different samples of the same place of one run.
    """
    return _manifest(parts), _records(parts)


def read_parts(folders: Iterable[Path]) -> list[Part]:
    """Return the runs that are to be merged.

    Raises:
        ConfigError: they do not belong together.
        RecordError: a folder holds no run that this version can read.
    """
    parts = [_read_part(folder) for folder in folders]
    if not parts:
        raise ConfigError("There is no run to merge: name the folders of at least one")
    first: dict[str, tuple[Path, object]] = {}
    for part in parts:
        for run in part.runs:
            for name, value in _must_agree(run):
                folder, expected = first.setdefault(name, (part.folder, value))
                if value != expected:
                    raise ConfigError(
                        f"{part.folder} was measured with {name} {value}, {folder} with {expected}: their samples "
                        "cannot be taken together. Merge only runs that agree, or measure one of them again."
                    )
    return parts


def machines(parts: Iterable[Part]) -> list[str]:
    """Return the fingerprints of all machines."""
    return list(dict.fromkeys(machine for part in parts for machine in part.manifest["environments"]))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file beside its place; it is moved there when it is complete."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_part(folder: Path) -> Part:
    manifest = read_manifest(folder / MANIFEST_FILE)
    jobs = manifest.get("jobs")
    if isinstance(jobs, list) and any(isinstance(job, dict) and job.get("suite") == {"name": QUALITY} for job in jobs):
        raise ConfigError(f"{folder} is a run of suite={QUALITY}, which measures no samples. Leave it out.")
    odd = [name for name, shape in SHAPES.items() if not isinstance(manifest.get(name, ...), shape)]
    if odd:
        raise RecordError(f"{folder / MANIFEST_FILE} is damaged: look at {', '.join(odd)}. Leave the run out.")
    try:
        part = Part(folder, manifest, read_records(folder / RECORDS_FILE))
    except (RecordError, UnicodeDecodeError) as error:
        raise RecordError(f"{folder / RECORDS_FILE} is damaged: {error}. Leave the run out.") from error
    if not all(run.get("run") for run in part.runs):
        raise ConfigError(
            f"{folder} is of a version that gave runs no identity: its samples cannot be told from another's. "
            "Leave it out, or measure it again."
        )
    return part


def _must_agree(run: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield what must be the same in all runs, or in all of the same machine, by a name that says which."""
    for name in DECIDES_ABOUT_SAMPLES:
        yield f"protocol.{name}", run["protocol"].get(name)
    for name, value in run["variables"].items():
        yield f"the variable {name} on machine {run['machine']}", value


def _records(parts: Iterable[Part]) -> list[Record]:
    found: dict[Hashable, tuple[Record, Path]] = {}
    for part in parts:
        for record in part.records:
            known, folder = found.setdefault(record.key, (record, part.folder))
            if known != record:
                raise ConfigError(
                    f"{folder} and {part.folder} hold different samples of the same place of one run "
                    f"({record.cell.label()}, round {record.round}): copies of it went on apart. Merge only one."
                )
    return [record for record, _ in found.values()]


def _manifest(parts: Sequence[Part]) -> dict[str, Any]:
    runs = _distinct(run for part in parts for run in part.runs)
    names = machines(parts)
    alike = {key for key in runs[0] if all(run.get(key) == runs[0][key] for run in runs)}
    manifest = {key: runs[0][key] if key in alike else None for run in runs for key in run}
    return manifest | {
        "run": None,
        "machine": names[0] if len(names) == 1 else None,
        "environments": _first_of_each(part.manifest["environments"] for part in parts),
        # To repeat all of it is to repeat each.
        "command": "\n".join(dict.fromkeys(run["command"] for run in runs)),
        "variables": {name: value for name, value in runs[0]["variables"].items() if _all_have(runs, name, value)},
        "protocol": runs[0]["protocol"] if {"protocol", "seed"} <= alike else None,
        "jobs": _distinct(job for part in parts for job in part.manifest["jobs"]),
        "cells": _distinct(cell for part in parts for cell in part.manifest["cells"]),
        "preparations": _distinct(
            {"machine": part.manifest["machine"], **preparation}
            for part in parts
            for preparation in part.manifest["preparations"]
        ),
        "models": _origins(parts),
        "merged": runs,
    }


def _all_have(runs: Iterable[dict[str, Any]], name: str, value: object) -> bool:
    return all(run["variables"].get(name) == value for run in runs)


def _origins(parts: Iterable[Part]) -> dict[str, str]:
    """Return where each model came from; several places where the machines found it differently."""
    found: dict[str, dict[str, None]] = {}
    for part in parts:
        for model, origin in part.manifest["models"].items():
            found.setdefault(model, {}).update(dict.fromkeys(str(origin).split("; ")))
    return {model: "; ".join(origins) for model, origins in found.items()}


def _first_of_each(mappings: Iterable[dict[str, Any]]) -> dict[str, Any]:
    united: dict[str, Any] = {}
    for mapping in mappings:
        united |= {key: value for key, value in mapping.items() if key not in united}
    return united


def _distinct(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        found.setdefault(json.dumps(item, sort_keys=True), item)
    return list(found.values())


def main() -> int:
    """Merge what the command line names, write the report, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.merge", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the new run's folder")
    parser.add_argument("--require-same-machine", action="store_true", help="refuse runs of different machines")
    parser.add_argument("--quiet", action="store_true", help="only print errors and where the report is")
    asked = parser.parse_args()
    try:
        names = machines(read_parts(asked.runs)) if asked.require_same_machine else []
        if len(names) > 1:
            sys.stderr.write(f"error: runs of {len(names)} machines cannot be compared: {', '.join(names)}\n")
            return EXIT_INCOMPARABLE
        folder = merge(asked.runs, asked.output)
        from bench.report.making import present

        present(folder, quiet=asked.quiet)
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
