"""A history as data, for programs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.history.order import Position, RunGroup
    from bench.history.sheets import History, Sheet
    from bench.history.trends import Change, Point, Trend

SCHEMA = 1


def to_json(history: History) -> dict[str, Any]:
    """Return everything; unknown values are null, and times are in UTC."""
    return {
        "schema": SCHEMA,
        "tolerance": history.criteria.tolerance,
        "confidence": history.criteria.confidence,
        "groups": [_group(history, group) for group in history.groups],
        "left_out": list(history.left_out),
    }


def _group(history: History, group: RunGroup) -> dict[str, Any]:
    first = group.runs[0]
    environment = replace(first.environment, packages=first.environment.dependencies, load_average_1min=None)
    return {
        "name": group.name,
        "environment": environment.to_json(),
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
    trend = sheet.trend
    return {
        "title": sheet.title,
        "picture": sheet.file,
        "cell": trend.cell.to_json(),
        "label": trend.cell.label(),
        "metric": trend.metric.key,
        "unit": trend.metric.unit if trend.reference is None else "ratio",
        "reference": trend.reference.to_json() if trend.reference else None,
        "points": [_point(point) for point in trend.points],
        "changes": [_change(trend, change) for change in trend.changes],
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


def _change(trend: Trend, change: Change) -> dict[str, Any]:
    known = math.isfinite(change.shift.high)
    return {
        "from": trend.points[change.before].run.name,
        "to": trend.points[change.point].run.name,
        "ratio": change.shift.ratio,
        "low": change.shift.low if known else None,
        "high": change.shift.high if known else None,
        "limit": change.limit,
        "mark": change.mark,
    }
