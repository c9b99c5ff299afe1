"""The tables of a verdict: a row for each rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gate.outputs.wording import explain, outcome_of, ratio_scale, shortened, shown_finding
from bench.report.document import Table

if TYPE_CHECKING:
    from bench.gate.decide.sequence import Decision
    from bench.gate.decide.verdict import Verdict

FROM_OUTSIDE = ("Cell", "Compared with", "Package", "Base version", "Head version")
"""Headings of columns with text from outside."""

TEXTS = (*FROM_OUTSIDE, "Metric", "Outcome", "Why")
"""Headings of columns with words. The others hold figures."""

NOTHING = "-"


def changes_table(verdict: Verdict) -> Table:
    """Return the rules that compare two revisions."""
    headings = ("Cell", "Metric", "Outcome", "Base", "Head", "Change (%)", "Interval (%)", "Limit (%)", "Control (%)")
    rows = tuple(_change(verdict, decision) for decision in verdict.course.decisions if decision.rule.is_regression)
    details = ("Why", "Rounds", "Limit (%)", "Control (%)", "Base", "Head")
    return Table("Head against base", (*headings, "Rounds", "Why"), rows, names=3, details=details)


def limits_table(verdict: Verdict) -> Table:
    """Return the rules with fixed limits."""
    headings = ("Cell", "Metric", "Outcome", "Figure", "Interval", "Limit", "Compared with", "Rounds", "Why")
    rows = tuple(_limit(verdict, decision) for decision in verdict.course.decisions if not decision.rule.is_regression)
    return Table("Limits", headings, rows, names=3, details=("Why", "Rounds", "Compared with"))


def dependencies_table(verdict: Verdict) -> Table:
    """Return the dependencies that differ."""
    rows = tuple(
        tuple(NOTHING if text is None else shortened(text) for text in (change.name, change.base, change.head))
        for change in verdict.changes
    )
    return Table("Dependencies that differ", ("Package", "Base version", "Head version"), rows, names=3)


def _change(verdict: Verdict, decision: Decision) -> tuple[str, ...]:
    finding = shown_finding(decision)
    rule, scale, control = finding.rule, ratio_scale(finding.rule), finding.control
    return (
        shortened(rule.cell.label()),
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
    rule, scale = finding.rule, ratio_scale(finding.rule)
    return (
        shortened(rule.cell.label()),
        rule.metric.title,
        outcome_of(verdict, decision),
        scale.show(finding.shift.ratio),
        scale.interval(finding.shift),
        scale.limit(finding.limit),
        shortened(rule.against.cell.label()) if rule.against else NOTHING,
        _rounds(decision),
        explain(verdict, decision),
    )


def _rounds(decision: Decision) -> str:
    return " + ".join(str(finding.shift.n) for finding in decision.findings)
