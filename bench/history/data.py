"""A history as data, for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bench.environment import PROJECT

if TYPE_CHECKING:
    from bench.history.order import Group, Position
    from bench.history.series import Change, Point, Series
    from bench.history.sheets import History, Sheet

SCHEMA = 1


def to_json(history: History) -> dict[str, Any]:
    """Return everything; what is not known is null, and times are in UTC."""
    return {
        "schema": SCHEMA,
        "tolerance": history.criteria.tolerance,
        "confidence": history.criteria.confidence,
        "groups": [_group(history, group) for group in history.groups],
        "left_out": list(history.left_out),
    }


def _group(history: History, group: Group) -> dict[str, Any]:
    first = group.runs[0]
    packages = {name: version for name, version in first.environment.get("packages", {}).items() if name != PROJECT}
    environment = {name: value for name, value in first.environment.items() if name != "load_average_1min"}
    return {
        "name": group.name,
        "environment": {**environment, "packages": packages},
        "conditions": dict(first.conditions),
        "positions": [_position(position) for position in group.positions],
        "series": [_series(sheet) for sheet in history.sheets if sheet.group is group],
    }


def _position(position: Position) -> dict[str, Any]:
    revision = position.revision
    return {
        "commit": revision.commit if revision else None,
        "committed_at": revision.committed_at.isoformat() if revision and revision.committed_at else None,
        "dirty": revision.dirty if revision else None,
        "subject": revision.subject if revision else None,
        "runs": [
            {"name": run.name, "run": run.run, "measured_at": run.measured_at.isoformat() if run.measured_at else None}
            for run in position.runs
        ],
    }


def _series(sheet: Sheet) -> dict[str, Any]:
    series = sheet.series
    return {
        "title": sheet.title,
        "picture": sheet.file,
        "cell": series.cell.to_json(),
        "label": series.cell.label(),
        "metric": series.metric.key,
        "unit": series.metric.unit if series.reference is None else "ratio",
        "reference": series.reference.to_json() if series.reference else None,
        "points": [_point(point) for point in series.points],
        "changes": [_change(series, change) for change in series.changes],
    }


def _point(point: Point) -> dict[str, Any]:
    interval = point.interval
    return {
        "position": point.place,
        "run": point.run.name,
        "values": [value for _, value in sorted(point.values.items())],
        "median": point.median,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "plain_median": point.plain_median,
    }


def _change(series: Series, change: Change) -> dict[str, Any]:
    known = math.isfinite(change.shift.high)
    return {
        "from": series.points[change.before].run.name,
        "to": series.points[change.point].run.name,
        "ratio": change.shift.ratio,
        "low": change.shift.low if known else None,
        "high": change.shift.high if known else None,
        "limit": change.limit,
        "mark": change.mark,
    }
