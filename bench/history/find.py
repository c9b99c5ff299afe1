"""Looking for runs below folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import RecordError
from bench.history.runs import Run, printable, read_runs
from bench.run import MANIFEST_FILE, RECORDS_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_DEPTH = 6
"""Folders below the one that is named: artifacts of a CI lie in a folder for each job, arms of a gate one deeper."""


@dataclass(frozen=True)
class Found:
    """The runs that were found, each once, and a sentence for each folder that was left out."""

    runs: tuple[Run, ...]
    left_out: tuple[str, ...]


def find_runs(folders: Sequence[Path]) -> Found:
    """Return the runs in these folders and below them.

    Raises:
        RecordError: one of the folders is not there, or no run is in any of them.
    """
    runs: list[Run] = []
    left_out: list[str] = []
    seen: set[Path] = set()
    for top in folders:
        if not top.is_dir():
            raise RecordError(f"{top} is no folder. Name the folder of a run, or one that holds folders of runs.")
        for folder in _candidates(top, left_out):
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            try:
                found = _read(folder, top)
            except (RecordError, OSError) as error:
                left_out.append(printable(f"{folder} is left out: {error}"))
            else:
                runs += found
    if not runs:
        places = ", ".join(printable(str(folder)) for folder in folders)
        message = (
            f"No run of start-up costs (a folder with {MANIFEST_FILE} and {RECORDS_FILE}) was found in {places} or up "
            f"to {MAX_DEPTH} folders below. Make one with: python -m bench"
        )
        raise RecordError("\n".join([message, *left_out]))
    return Found(_once(runs), tuple(left_out))


def _read(folder: Path, top: Path) -> list[Run]:
    # ".." has no name of its own.
    name = folder.relative_to(top).as_posix() if folder != top else folder.resolve().name
    if not (folder / RECORDS_FILE).exists():
        raise RecordError(f"it has no {RECORDS_FILE}, so it is no run of start-up costs")
    found = read_runs(folder, name)
    if not found:
        raise RecordError("it has no records")
    return found


def _candidates(top: Path, left_out: list[str]) -> Iterator[Path]:
    """Yield folders with a manifest; below them nothing is looked for."""

    def complain(error: OSError) -> None:
        left_out.append(printable(f"{error.filename} cannot be searched: {error.strerror}"))

    for path, below, files in os.walk(top, onerror=complain):
        folder = Path(path)
        if MANIFEST_FILE in files:
            yield folder
        deep = MANIFEST_FILE in files or len(folder.relative_to(top).parts) >= MAX_DEPTH
        below[:] = [] if deep else sorted(name for name in below if not name.startswith("."))


def _once(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return each run once: of copies, or of a run and its part of a merged one, that with the most samples."""
    chosen: dict[object, Run] = {}
    for run in runs:
        # Old runs have no identity, and neither have copies of them.
        key = (run.run, run.machine) if run.run else object()
        if key not in chosen or len(run.records) > len(chosen[key].records):
            chosen[key] = run
    return tuple(chosen.values())
