"""``verdict.json``: everything in a verdict, for programs.

History of the format: schema 1 is the first.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from bench.gate.outputs.wording import headline, outcome_of

if TYPE_CHECKING:
    from bench.gate.decide.rules import Finding, Place, Rule
    from bench.gate.decide.sequence import Decision
    from bench.gate.decide.verdict import Verdict
    from bench.gate.install.source import Revision
    from bench.stats.shifts import Shift

SCHEMA = 1


def render(verdict: Verdict) -> str:
    """Return the document as strict JSON: infinite and undefined values are null."""
    return json.dumps(_finite(describe(verdict)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def describe(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as plain data."""
    settings = verdict.settings
    return {
        "schema": SCHEMA,
        "result": verdict.result,
        "exit_code": verdict.exit_code,
        "headline": headline(verdict),
        "base": _revision(verdict.base),
        "head": _revision(verdict.head),
        "command": verdict.command,
        "settings": {
            "confidence": settings.confidence,
            "resolution_ratio": settings.resolution,
            "budget_s": settings.budget_s,
            "max_rounds": settings.max_rounds,
            "looks_rounds": settings.looks,
        },
        "prepared_s": verdict.prepared_s,
        "measured_s": verdict.measured_s,
        "samples": verdict.samples,
        "disturbed_samples": verdict.disturbed,
        "stages": [{"rounds": stage.rounds, "duration_s": stage.seconds} for stage in verdict.course.stages],
        "decisions": [_decision(verdict, decision) for decision in verdict.course.decisions],
        "changed_dependencies": [
            {"name": change.name, "base": change.base, "head": change.head} for change in verdict.changes
        ],
        "machine": {key: verdict.machine[key] for key in sorted(verdict.machine)},
    }


def _revision(revision: Revision) -> dict[str, str]:
    return {"asked": revision.asked, "commit": revision.commit, "subject": revision.subject}


def _decision(verdict: Verdict, decision: Decision) -> dict[str, Any]:
    return {
        "rule": _rule(decision.rule),
        "outcome": decision.outcome,
        "outcome_in_verdict": outcome_of(verdict, decision),
        "why": decision.why,
        "findings": [_finding(finding, stage) for stage, finding in enumerate(decision.findings, 1)],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "cell": {"label": rule.cell.label(), **rule.cell.to_json()},
        "metric": rule.metric.key,
        "title": rule.metric.title,
        "unit": rule.metric.unit,
        "against": _place(rule.against),
        "limit": {"value": rule.limit, "unit": _unit(rule)},
        "floor": {"value": rule.floor, "unit": rule.metric.unit},
    }


def _place(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {"arm": place.arm, "cell": {"label": place.cell.label(), **place.cell.to_json()}}


def _finding(finding: Finding, stage: int) -> dict[str, Any]:
    rule = finding.rule
    return {
        "stage": stage,
        "state": finding.state,
        "shift": _shift(finding.shift, _unit(rule)),
        "limit": {"value": finding.limit, "unit": _unit(rule)},
        "reference_median": {"value": finding.reference_median, "unit": rule.metric.unit},
        "median": {"value": finding.median, "unit": rule.metric.unit},
        "control": _shift(finding.control, "ratio") if finding.control else None,
        "control_fires": finding.control_fires,
    }


def _shift(shift: Shift, unit: str) -> dict[str, Any]:
    """Return a shift; an open end is null."""
    return {
        "estimate": shift.ratio,
        "low": shift.low if shift.low > 0.0 else None,
        "high": shift.high,
        "unit": unit,
        "rounds": shift.n,
        "confidence_of_one_look": shift.confidence,
    }


def _unit(rule: Rule) -> str:
    return rule.metric.unit if rule.against is None else "ratio"


def _finite(value: Any) -> Any:
    """Return plain data with null for each number that JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
