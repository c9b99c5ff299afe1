"""The samples of a run as series: one for each cell and metric, with a name that stays from run to run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bench.errors import RecordError
from bench.metrics import leading_metric
from bench.report.context import load_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.metrics import Metric
    from bench.plan import Cell
    from bench.report.context import Context, OfCell

SECONDS = {"ms": 1e-3, "s": 1.0}
"""What one of a unit is in seconds; metrics of other units are no times."""


@dataclass(frozen=True)
class Series:
    """The samples of one metric that count, in one cell on one machine.

    Attributes:
        name: of cell and machine; unique in a run, and the same in every run that measures the cell.
        cell: the cell.
        machine: short name of the machine, such as ``machine A``.
        environment: what the manifest says of the machine.
        metric: which figure.
        values: in the metric's unit, in the order they were measured; at least one.
        warmed_up: whether rounds that do not count came before.
    """

    name: str
    cell: Cell
    machine: str
    environment: dict[str, Any]
    metric: Metric
    values: tuple[float, ...]
    warmed_up: bool


@dataclass(frozen=True)
class Collected:
    """What can be exported of a run, and a sentence for each thing that cannot."""

    series: tuple[Series, ...]
    left_out: tuple[str, ...]


def read_run(folder: Path) -> Context:
    """Return a run whose every record is of a machine that its manifest describes.

    Raises:
        RecordError: there is none, or it is damaged.
    """
    try:
        context = load_context(folder)
        environments = {name: dict(fields) for name, fields in context.manifest["environments"].items()}
        strangers = {summary.machine for summary in context.summaries} - set(environments)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{folder} is damaged: {error!r}. Take another copy of the run, or measure again.") from error
    if strangers:
        raise RecordError(
            f"{folder} is damaged: its manifest does not describe the machine {', '.join(sorted(strangers))} of its "
            "records. Take another copy of the run, or measure again."
        )
    return context


def collect(context: Context, metrics: Sequence[Metric], *, only_times: bool) -> Collected:
    """Return the samples of a run that enter its statistics.

    Args:
        context: the run.
        metrics: which figures; none for the one that each cell is judged by.
        only_times: leave out what is not a time.
    """
    series, left_out = [], []
    for summary, name in zip(context.summaries, cell_names(context), strict=True):
        warmed_up = any(record.is_warmup for record in context.records if _place(record) == _place(summary))
        for metric in metrics or [leading_metric(summary.cell)]:
            mine = (metric.value(record) for record in context.chosen if _place(record) == _place(summary))
            values = tuple(value for value in mine if value is not None and math.isfinite(value))
            if only_times and metric.unit not in SECONDS:
                left_out.append(f"{name}: {metric.key} is not a time; choose others with --metric")
            elif not values:
                what = "; ".join(f"{number} {status}" for status, (number, _) in summary.problems.items())
                left_out.append(f"{name}: no counted sample has {metric.key}{f' ({what})' if what else ''}")
            else:
                machine = context.machine_name(summary.machine)
                environment = context.manifest["environments"][summary.machine]
                series.append(Series(name, summary.cell, machine, environment, metric, values, warmed_up))
    return Collected(tuple(series), tuple(left_out))


def _place(item: OfCell) -> tuple[str, Cell]:
    return (item.machine, item.cell)


def cell_names(context: Context) -> list[str]:
    """Return a name for each summary that does not depend on what else the run measures, as long as that is possible.

    Not ``Context.name``, which is as short as the run's other cells allow: a dashboard follows a name from run to run.
    """
    several = len(context.manifest["environments"]) > 1
    labels = [
        ", ".join([summary.cell.label(), *([context.machine_name(summary.machine)] if several else [])])
        for summary in context.summaries
    ]
    times, names = Counter(labels), dict[str, None]()
    for label, summary in zip(labels, context.summaries, strict=True):
        # Models that are swept by name have one key. A model's last part is no path.
        name = label if times[label] == 1 else f"{label}, {PurePath(summary.cell.model).name}"
        candidates = (name if number == 1 else f"{name} ({number})" for number in count(1))
        names[next(candidate for candidate in candidates if candidate not in names)] = None
    return list(names)
