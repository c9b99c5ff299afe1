"""The tables of a verdict: a row for each rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gate.outputs.wording import clean, explain, outcome_of, scale_of, shown_finding
from bench.report.document import Table

if TYPE_CHECKING:
    from bench.gate.sequence import Decision
    from bench.gate.verdict import Verdict

FROM_OUTSIDE = ("Cell", "Compared with", "Package", "Base version", "Head version")
"""Headings of columns whose texts come from outside."""

TEXTS = (*FROM_OUTSIDE, "Metric", "Outcome", "Why")
"""Headings of columns of words. The others hold figures."""

NOTHING = "-"


def changes_table(verdict: Verdict) -> Table:
    """Return the rules that compare two revisions."""
    headings = ("Cell", "Metric", "Outcome", "Base", "Head", "Change (%)", "Interval (%)", "Limit (%)", "Control (%)")
    rows = tuple(_change(verdict, decision) for decision in verdict.course.decisions if decision.rule.is_regression)
    details = ("Why", "Rounds", "Limit (%)", "Control (%)", "Base", "Head")
    return Table("Head against base", (*headings, "Rounds", "Why"), rows, names=3, details=details)


def limits_table(verdict: Verdict) -> Table:
    """Return the rules that have limits of their own."""
    headings = ("Cell", "Metric", "Outcome", "Figure", "Interval", "Limit", "Compared with", "Rounds", "Why")
    rows = tuple(_limit(verdict, decision) for decision in verdict.course.decisions if not decision.rule.is_regression)
    return Table("Limits", headings, rows, names=3, details=("Why", "Rounds", "Compared with"))


def dependencies_table(verdict: Verdict) -> Table:
    """Return the dependencies that differ."""
    rows = tuple(
        tuple(NOTHING if text is None else clean(text) for text in (change.name, change.base, change.head))
        for change in verdict.changes
    )
    return Table("Dependencies that differ", ("Package", "Base version", "Head version"), rows, names=3)


def _change(verdict: Verdict, decision: Decision) -> tuple[str, ...]:
    finding = shown_finding(decision)
    rule, scale, control = finding.rule, scale_of(finding.rule), finding.control
    return (
        clean(rule.cell.label()),
        rule.metric.title,
        outcome_of(verdict, decision),
        rule.metric.show(finding.reference_median),
        rule.metric.show(finding.median),
        scale.number(finding.shift.ratio),
        scale.span(finding.shift),
        scale.limit(finding.limit, unit=False),
        f"{scale.number(control.ratio)} ({scale.span(control)})" if control else NOTHING,
        _rounds(decision),
        explain(verdict, decision),
    )


def _limit(verdict: Verdict, decision: Decision) -> tuple[str, ...]:
    finding = shown_finding(decision)
    rule, scale = finding.rule, scale_of(finding.rule)
    return (
        clean(rule.cell.label()),
        rule.metric.title,
        outcome_of(verdict, decision),
        scale.show(finding.shift.ratio),
        scale.interval(finding.shift),
        scale.limit(finding.limit),
        clean(rule.against.cell.label()) if rule.against else NOTHING,
        _rounds(decision),
        explain(verdict, decision),
    )


def _rounds(decision: Decision) -> str:
    return " + ".join(str(finding.shift.n) for finding in decision.findings)
