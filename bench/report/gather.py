"""Which runs a report is about: one, several that are taken together, and a run of suite=quality beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.data import quality
from bench.data.folder import has_records
from bench.data.merging import read_parts, unite
from bench.data.runs import read_run
from bench.errors import ConfigError
from bench.stats.context import make_context

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.data.runs import Run
    from bench.stats.context import Context


def is_quality(folder: Path) -> bool:
    """Whether a folder holds a run of suite=quality."""
    return has_records(folder, quality.QUALITY_FILE)


def gather(folders: Sequence[Path], output: Path, *, flame_graphs: bool = True) -> Context:
    """Return what is to be reported.

    Args:
        folders: of runs; several timed ones are taken together as ``bench.merge`` does, and at most one may be of
            suite=quality.
        output: the folder of the report, from which links lead to flame graphs.
        flame_graphs: whether there are such links.

    Raises:
        ConfigError: the runs do not belong together, or none of them is timed.
        RecordError: a folder holds no run that this version can read.
    """
    timed = [folder for folder in folders if not is_quality(folder)]
    others = [folder for folder in folders if is_quality(folder)]
    if not timed:
        raise ConfigError("None of these folders has timed samples: add a run that does")
    if len(others) > 1:
        raise ConfigError(f"{others[0]} and {others[1]} are both runs of suite=quality: leave one out")
    runs = [read_run(timed[0])] if len(timed) == 1 else read_parts(timed)
    return make_context(
        runs[0] if len(runs) == 1 else unite(runs, output),
        quality=quality.load_quality_context(others[0]) if others else None,
        flame_graphs=_flame_graphs(runs, output) if flame_graphs else {},
    )


def _flame_graphs(runs: Sequence[Run], output: Path) -> dict[str, str]:
    """Return where each run keeps its flame graphs; a merged one has none, they stayed in the runs it came from."""
    return {
        run.manifest.run or "": os.path.relpath(run.folder, output).replace(os.sep, "/")
        for run in runs
        if not run.manifest.merged
    }
