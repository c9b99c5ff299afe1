"""A history in words and tables: one table and one picture for each series."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.report.document import Document, Picture, Prose, Section, Table, escape

if TYPE_CHECKING:
    from bench.history.order import Group, Position
    from bench.history.series import Change, Point, Series
    from bench.history.sheets import History, Sheet

MARKS = {"up": "up", "down": "down", "none": "-", "unclear": "too few samples", "machine": "the machine changed"}
LONGEST_SUBJECT = 60


def sheet_table(sheet: Sheet) -> Table:
    """Return a row for each run: commit, figures, and what changed since the run before."""
    series = sheet.series
    changes = {change.point: change for change in series.changes}
    rows = tuple(_row(series, point, changes.get(number)) for number, point in enumerate(series.points))
    plain = () if series.reference is None else (f"{series.metric.title} ({series.metric.unit})",)
    headings = ("Commit", "Date", "Subject", "Run", "n", "Median", "95 %", *plain, "Change", "Change, 95 %", "Mark")
    return Table(sheet.title, headings, rows, 4, ("Subject", *plain, "95 %", "Run"))


def to_document(history: History) -> Document:
    """Return all of it."""
    sections = [
        Section(sheet.title, (Picture(sheet.file, f"{sheet.series.axis}, by commit"), sheet_table(sheet)))
        for sheet in history.sheets
    ]
    lead = [escape(summary(history)), "\n".join(f"- {escape(note)}" for note in notes(history))]
    return Document("History", (Prose("\n\n".join(lead)),), tuple(sections))


def summary(history: History) -> str:
    """Return what there is in one sentence."""
    groups = history.groups
    runs = [run for group in groups for run in group.runs]
    commits = {run.revision.commit for run in runs if run.revision is not None}
    return f"{_many(len(runs), 'run')} of {_many(len(commits), 'known commit')} in {_many(len(groups), 'group')}."


def notes(history: History) -> list[str]:
    """Return what a reader must know to take the pictures for what they are."""
    groups, criteria = history.groups, history.criteria
    found = [f"Group {group.name}: {_describe(group)}." for group in groups]
    if len(groups) > 1:
        found.append("Groups differ in the machine, in versions or in how was measured: nothing connects them.")
    positions = [position for group in groups for position in group.positions]
    unknown = sum(len(position.runs) for position in positions if position.revision is None)
    if unknown:
        found.append(
            f"{_many(unknown, 'run')} of which no commit is known: placed and labelled by the time of the first sample."
        )
    if any(position.revision is not None and not position.is_placed_by_commit for position in positions):
        found.append("Where it is not known when a commit was made, it is placed by the time of its first sample.")
    if any(position.revision is not None and position.revision.dirty for position in positions):
        found.append("A + behind a commit: the code had changes that were not committed.")
    everything = [sheet.series for sheet in history.sheets]
    ratios = dict.fromkeys(series.reference.strategy for series in everything if series.reference is not None)
    if ratios:
        found.append(
            f"Times are multiples of what {', '.join(ratios)} took in the same round, so that a machine that became "
            "slower does not look like slower code. --absolute shows plain times."
        )
    if any(series.reference is None and series.metric.unit != "MiB" for series in everything):
        found.append("Where times are plain, a machine that became slower looks like slower code.")
    share, confidence = f"{criteria.tolerance * 100:.3g} %", f"{criteria.confidence * 100:.3g} %"
    found.append(
        f"A mark: the {confidence} interval of the change since the run before lies wholly beyond {share} and beyond "
        "what is too little to notice. Each interval stands by itself, so among many changes some marks are chance. "
        "Nothing is judged here: that does the gate."
    )
    if any(_is_noise(sheet.series, change) for sheet in history.sheets for change in sheet.series.changes):
        found.append(
            "A mark between two runs of the same commit: the machine changed, and other marks may be its as well."
        )
    return found


def _is_noise(series: Series, change: Change) -> bool:
    return change.mark in {"up", "down"} and series.points[change.before].place == series.points[change.point].place


def _row(series: Series, point: Point, change: Change | None) -> tuple[str, ...]:
    interval, position = point.interval, point.position
    shown = [_show(series, value) for value in (interval.low, interval.high)] if interval else []
    plain = () if series.reference is None else (series.metric.show(point.plain_median, unit=False),)
    bounds = "-"
    if change is not None and math.isfinite(change.shift.high):
        bounds = f"{_percent(change.shift.low)} to {_percent(change.shift.high)}"
    return (
        position.name,
        _date(position),
        _shortened(position.revision.subject if position.revision else ""),
        point.run.name,
        str(len(point.values)),
        _show(series, point.median) if point.median is not None else _problem(series, point),
        " to ".join(shown) or "-",
        *plain,
        _percent(change.shift.ratio) if change else "-",
        bounds,
        MARKS[change.mark] if change else "-",
    )


def _show(series: Series, value: float) -> str:
    return series.metric.show(value, unit=False) if series.reference is None else f"{value:.3f}"


def _percent(ratio: float) -> str:
    return f"{(ratio - 1.0) * 100:+.1f} %".replace("-0.0 %", "0.0 %").replace("+0.0 %", "0.0 %")


def _problem(series: Series, point: Point) -> str:
    counts = point.run.problems.get(series.cell, {})
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "-"


def _date(position: Position) -> str:
    if position.time is None:
        return "-"
    time = f"{position.time:%Y-%m-%d %H:%M}"
    return time if position.is_placed_by_commit else f"measured {time}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SUBJECT else f"{text[: LONGEST_SUBJECT - 1]}\u2026"


def _describe(group: Group) -> str:
    differing = [f"{name} {value}" for name, value in group.differing.items()]
    return "; ".join([f"{_many(len(group.runs), 'run')}, {group.machine}", *differing])


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
