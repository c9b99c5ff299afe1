"""The samples of a run as series: one for each cell and metric, with a name that is stable from run to run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import PurePath
from typing import TYPE_CHECKING

from bench.data.metrics import leading_metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.environment import Environment
    from bench.data.metrics import Metric
    from bench.plan.cell import Cell
    from bench.stats.context import Context, OfCell

SECONDS = {"ms": 1e-3, "s": 1.0}
"""Seconds per unit; metrics with other units are not times."""


@dataclass(frozen=True)
class SampleSeries:
    """The counted samples of one metric, in one cell on one machine.

    Attributes:
        name: names cell and machine; unique in a run, and the same in every run that measures the cell.
        cell: the cell.
        machine: short name of the machine, such as ``machine A``.
        environment: the manifest's description of the machine.
        metric: the figure.
        values: in the metric's unit, in the order they were measured; at least one.
        warmed_up: whether warm-up rounds came before.
    """

    name: str
    cell: Cell
    machine: str
    environment: Environment
    metric: Metric
    values: tuple[float, ...]
    warmed_up: bool


@dataclass(frozen=True)
class Collected:
    """What can be exported from a run, and a sentence for each thing that cannot."""

    series: tuple[SampleSeries, ...]
    left_out: tuple[str, ...]


def collect_series(context: Context, metrics: Sequence[Metric], *, only_times: bool) -> Collected:
    """Return the samples of a run that enter its statistics.

    Args:
        context: the run.
        metrics: the figures; if empty, the one that each cell is judged by.
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
                environment = context.manifest.environments[summary.machine]
                series.append(SampleSeries(name, summary.cell, machine, environment, metric, values, warmed_up))
    return Collected(tuple(series), tuple(left_out))


def _place(item: OfCell) -> tuple[str, Cell]:
    return (item.machine, item.cell)


def cell_names(context: Context) -> list[str]:
    """Return a name for each summary that, if possible, does not depend on what else the run measures.

    ``Context.name`` is as short as the run's other cells allow, but a dashboard follows a name from run to run.
    """
    several = len(context.manifest.environments) > 1
    labels = [
        ", ".join([summary.cell.label(), *([context.machine_name(summary.machine)] if several else [])])
        for summary in context.summaries
    ]
    times, names = Counter(labels), dict[str, None]()
    for label, summary in zip(labels, context.summaries, strict=True):
        # Models swept by name share one key. A model's last part is not a path.
        name = label if times[label] == 1 else f"{label}, {PurePath(summary.cell.model).name}"
        candidates = (name if number == 1 else f"{name} ({number})" for number in count(1))
        names[next(candidate for candidate in candidates if candidate not in names)] = None
    return list(names)
