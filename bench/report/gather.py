"""Which runs a report is about: one, several that are taken together, and a run of suite=quality beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.environment import read_manifest
from bench.errors import ConfigError
from bench.merge import read_parts, unite
from bench.quality import context as quality
from bench.report.context import Context, load_context, make_context

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def is_quality(folder: Path) -> bool:
    """Whether a folder holds a run of suite=quality."""
    return (folder / quality.RECORDS_FILE).exists()


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
        raise ConfigError("There is no run of timed samples among these folders: name one")
    if len(others) > 1:
        raise ConfigError(f"{others[0]} and {others[1]} are both runs of suite=quality: name one of them")
    context = load_context(timed[0]) if len(timed) == 1 else make_context(*unite(read_parts(timed)))
    return Context(
        context.manifest,
        context.records,
        context.summaries,
        quality.load_context(others[0]) if others else None,
        _flame_graphs(timed, output) if flame_graphs else {},
    )


def _flame_graphs(folders: Sequence[Path], output: Path) -> dict[str, str]:
    """Return where each run keeps its flame graphs; a merged one has none, they stayed in the runs it came from."""
    places = {}
    for folder in folders:
        manifest = read_manifest(folder / "manifest.json")
        if not manifest.get("merged"):
            places[str(manifest["run"])] = os.path.relpath(folder, output).replace(os.sep, "/")
    return places
