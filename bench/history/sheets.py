"""What is drawn: a sheet for each series, with a title and a name for its file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.history.runs import printable
from bench.history.series import choose_cells, make_series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.comparison import Criteria
    from bench.history.order import Group
    from bench.history.series import Series
    from bench.plan import Cell

LONGEST_FILE_NAME = 100


@dataclass(frozen=True)
class Sheet:
    """One series.

    Attributes:
        group: of the runs.
        series: what they say of one figure.
        title: tells it from the others; printable.
        file: the same for its picture: a file name without an ending.
    """

    group: Group
    series: Series
    title: str
    file: str


@dataclass(frozen=True)
class History:
    """All that there is to show.

    Attributes:
        groups: all of them, with or without sheets.
        sheets: in the order of groups, cells and metrics; one at least.
        criteria: by which marks were made.
        left_out: a sentence for each folder that was not read.
    """

    groups: tuple[Group, ...]
    sheets: tuple[Sheet, ...]
    criteria: Criteria
    left_out: tuple[str, ...]


def make_history(
    groups: Sequence[Group],
    criteria: Criteria,
    left_out: Sequence[str],
    *,
    metrics: Sequence[str] = (),
    cells: str | None = None,
    absolute: bool = False,
) -> History:
    """Return what is drawn of these groups.

    Args:
        groups: of runs.
        criteria: of marks.
        left_out: what was not read.
        metrics: keys; none for that by which each cell is judged.
        cells: a pattern, see ``choose_cells``.
        absolute: see ``make_series``.

    Raises:
        ConfigError: no run has anything of what was asked for.
    """
    made = [
        (group, series)
        for group in groups
        for cell in choose_cells(group, cells)
        for key in dict.fromkeys(metrics or (None,))
        if (series := make_series(group, cell, key, criteria, absolute=absolute)) is not None
    ]
    if not made:
        labels = sorted({printable(cell.label()) for group in groups for run in group.runs for cell in run.cells})
        raise ConfigError(
            "No run has a counted sample of what was asked for. Choose other cells with --cells, or other figures with "
            "--metric. The cells are:\n" + "\n".join(labels)
        )
    models = _models({series.cell for _, series in made})
    sheets: list[Sheet] = []
    for group, series in made:
        title = printable(f"{group.name}: {_name(series.cell, models)}: {series.metric.title}")
        sheets.append(Sheet(group, series, title, _file(title, {sheet.file for sheet in sheets})))
    return History(tuple(groups), tuple(sheets), criteria, tuple(left_out))


def _models(cells: set[Cell]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cell in cells:
        found.setdefault(cell.label(), set()).add(cell.model)
    return found


def _name(cell: Cell, models: dict[str, set[str]]) -> str:
    """Return a cell's label, with its model where that is swept by name: such models have one key in common."""
    return f"{cell.label()}, {cell.model}" if len(models[cell.label()]) > 1 else cell.label()


def _file(title: str, taken: set[str]) -> str:
    plain = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:LONGEST_FILE_NAME]
    return next(name for number in count(1) if (name := plain if number == 1 else f"{plain}-{number}") not in taken)
