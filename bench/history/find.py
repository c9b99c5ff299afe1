"""Looking for runs below folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.folder import MANIFEST_FILE, RECORDS_FILE, has_records
from bench.errors import BenchError, RecordError
from bench.history.runs import HistoryRun, printable, read_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_DEPTH = 6
"""How deep to search below the named folder: CI artifacts lie in a folder for each job, a gate's arms one deeper."""


@dataclass(frozen=True)
class Found:
    """The runs that were found, each once, and a sentence for each folder that was skipped."""

    runs: tuple[HistoryRun, ...]
    left_out: tuple[str, ...]


def find_runs(folders: Sequence[Path]) -> Found:
    """Return the runs in these folders and below them.

    Raises:
        RecordError: one of the folders does not exist, or none of them contains a run.
    """
    runs: list[HistoryRun] = []
    left_out: list[str] = []
    seen: set[Path] = set()
    for top in folders:
        if not top.is_dir():
            raise RecordError(f"{top} is not a folder. Name the folder of a run, or one that contains runs.")
        for folder in _candidates(top, left_out):
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            try:
                found = _read(folder, top)
            except (BenchError, OSError) as error:
                left_out.append(printable(f"{folder} is skipped: {error}"))
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


def _read(folder: Path, top: Path) -> list[HistoryRun]:
    # ".." has no name of its own.
    name = folder.relative_to(top).as_posix() if folder != top else folder.resolve().name
    if not has_records(folder):
        raise RecordError(f"it has no {RECORDS_FILE}, so it is not a run of start-up costs")
    found = read_runs(folder, name)
    if not found:
        raise RecordError("it has no records")
    return found


def _candidates(top: Path, left_out: list[str]) -> Iterator[Path]:
    """Yield folders with a manifest, without searching below them."""

    def complain(error: OSError) -> None:
        left_out.append(printable(f"{error.filename} cannot be searched: {error.strerror}"))

    for path, below, files in os.walk(top, onerror=complain):
        folder = Path(path)
        if MANIFEST_FILE in files:
            yield folder
        deep = MANIFEST_FILE in files or len(folder.relative_to(top).parts) >= MAX_DEPTH
        below[:] = [] if deep else sorted(name for name in below if not name.startswith("."))


def _once(runs: Iterable[HistoryRun]) -> tuple[HistoryRun, ...]:
    """Return each run once: of several copies, which may be parts of merged runs, the one with the most samples."""
    chosen: dict[object, HistoryRun] = {}
    for run in runs:
        # Old runs have no identity, so their copies cannot be recognised.
        key = (run.run, run.machine) if run.run else object()
        if key not in chosen or len(run.records) > len(chosen[key].records):
            chosen[key] = run
    return tuple(chosen.values())
