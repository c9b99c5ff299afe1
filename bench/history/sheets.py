"""What is drawn: a sheet for each trend, with a title and a file name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.history.runs import printable
from bench.history.trends import choose_cells, make_trend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.history.order import RunGroup
    from bench.history.trends import Trend
    from bench.plan.cell import Cell
    from bench.stats.comparison import Criteria

LONGEST_FILE_NAME = 100


@dataclass(frozen=True)
class Sheet:
    """One trend.

    Attributes:
        group: the runs' group.
        trend: one figure over these runs.
        title: unique among the sheets; printable.
        file: the picture's file name, unique too, without its extension.
    """

    group: RunGroup
    trend: Trend
    title: str
    file: str


@dataclass(frozen=True)
class History:
    """Everything there is to show.

    Attributes:
        groups: all of them, with or without sheets.
        sheets: in the order of groups, cells and metrics; at least one.
        criteria: the criteria for marks.
        left_out: a sentence for each folder that was not read.
    """

    groups: tuple[RunGroup, ...]
    sheets: tuple[Sheet, ...]
    criteria: Criteria
    left_out: tuple[str, ...]


def make_history(
    groups: Sequence[RunGroup],
    criteria: Criteria,
    left_out: Sequence[str],
    *,
    metrics: Sequence[str] = (),
    cells: str | None = None,
    absolute: bool = False,
) -> History:
    """Return what is drawn of these groups.

    Args:
        groups: groups of runs.
        criteria: criteria for marks.
        left_out: what was not read.
        metrics: keys; if empty, the metric that each cell is judged by.
        cells: a pattern, see ``choose_cells``.
        absolute: see ``make_trend``.

    Raises:
        ConfigError: no run has any of the requested cells and figures.
    """
    made = [
        (group, trend)
        for group in groups
        for cell in choose_cells(group, cells)
        for key in dict.fromkeys(metrics or (None,))
        if (trend := make_trend(group, cell, key, criteria, absolute=absolute)) is not None
    ]
    if not made:
        labels = sorted({printable(cell.label()) for group in groups for run in group.runs for cell in run.cells})
        raise ConfigError(
            "No run has a counted sample of these figures. Choose other cells with --cells, or other figures with "
            "--metric. The cells are:\n" + "\n".join(labels)
        )
    models = _models({trend.cell for _, trend in made})
    sheets: list[Sheet] = []
    for group, trend in made:
        title = printable(f"{group.name}: {_name(trend.cell, models)}: {trend.metric.title}")
        sheets.append(Sheet(group, trend, title, _file(title, {sheet.file for sheet in sheets})))
    return History(tuple(groups), tuple(sheets), criteria, tuple(left_out))


def _models(cells: set[Cell]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cell in cells:
        found.setdefault(cell.label(), set()).add(cell.model)
    return found


def _name(cell: Cell, models: dict[str, set[str]]) -> str:
    """Return a cell's label, with its model if the sweep names models directly: those share one key."""
    return f"{cell.label()}, {cell.model}" if len(models[cell.label()]) > 1 else cell.label()


def _file(title: str, taken: set[str]) -> str:
    plain = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:LONGEST_FILE_NAME]
    return next(name for number in count(1) if (name := plain if number == 1 else f"{plain}-{number}") not in taken)
