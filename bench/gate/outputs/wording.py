"""A verdict in words and figures, before a format turns them into markup.

Text from outside (names of models, messages of commits) goes through a ``Quote``, which each format defines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from bench.report.tables import show_ratio

if TYPE_CHECKING:
    from bench.gate.decide.rules import Finding, Rule
    from bench.gate.decide.sequence import Decision, RuleOutcome
    from bench.gate.decide.verdict import Result, Verdict
    from bench.stats.shifts import Shift

Quote: TypeAlias = Callable[[str], str]
"""Makes text from outside harmless in a format."""

WORDS: dict[Result, str] = {"ok": "OK", "regression": "REGRESSION", "inconclusive": "INCONCLUSIVE"}

LONGEST = 200
"""How many characters of a text from outside are shown."""


def shortened(text: str) -> str:
    """Return the text on one line, shortened, without characters that control a terminal or the text direction."""
    words = " ".join(text.split())
    return without_controls(words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}...")


def without_controls(text: str) -> str:
    """Return the text with question marks for invisible characters other than spaces, tabs and line ends."""
    return "".join(char if char.isprintable() or char in " \t\n" else "?" for char in text)


@dataclass(frozen=True)
class RatioScale:
    """How the ratios of a rule are shown: as a change in per cent, as a multiple, or as figures.

    Attributes:
        number: the text of a ratio, without its unit.
        unit: what follows the number.
    """

    number: Callable[[float], str]
    unit: str

    def show(self, ratio: float) -> str:
        """Return a ratio as text."""
        return f"{self.number(ratio)} {self.unit}"

    def limit(self, ratio: float, *, unit: bool = True) -> str:
        """Return a limit as text: as the user wrote it, without a trailing zero decimal."""
        text = self.number(ratio).removesuffix(".0")
        return f"{text} {self.unit}" if unit else text

    def span(self, shift: Shift) -> str:
        """Return the interval of a shift, without a unit; an unknown end is open."""
        low = self.number(shift.low) if shift.low > 0.0 else "open"
        high = self.number(shift.high) if shift.high < math.inf else "open"
        return "open" if low == high == "open" else f"{low} to {high}"

    def interval(self, shift: Shift) -> str:
        """Return the interval of a shift with its unit."""
        span = self.span(shift)
        return span if span.endswith("open") else f"{span} {self.unit}"


def ratio_scale(rule: Rule) -> RatioScale:
    """Return how the rule's ratios are shown."""
    if rule.is_regression:
        return RatioScale(_percent, "%")
    if rule.against is None:
        return RatioScale(partial(rule.metric.show, unit=False), rule.metric.unit)
    return RatioScale(show_ratio, "times")


def confidence(verdict: Verdict) -> str:
    """Return the confidence of a decision as text: ``95 %``."""
    return f"{round(100 * verdict.settings.confidence, 3):g} %"


def footnote(verdict: Verdict) -> str:
    """Return a sentence that says what the intervals of all tables mean."""
    extent = "jointly over all rules of a table and all looks of a stage"
    return f"The intervals have {confidence(verdict)} confidence, {extent}."


def control_fired(decision: Decision) -> bool:
    """Whether the A/A control differed in a stage of this rule."""
    return any(finding.control_fires for finding in decision.findings)


def shown_finding(decision: Decision) -> Finding:
    """Return the finding to show: the one whose control fired, which explains the decision, or else the last."""
    return next((finding for finding in decision.findings if finding.control_fires), decision.last)


def outcome_of(verdict: Verdict, decision: Decision) -> RuleOutcome:
    """Return the outcome in this verdict: if the verdict is inconclusive as a whole, no rule is a regression."""
    is_void = decision.outcome == "regression" and verdict.result != "regression"
    return "inconclusive" if is_void else decision.outcome


def rule_title(rule: Rule) -> str:
    """Return what tells the rules of a cell apart: it may have a fixed limit besides the comparison."""
    if rule.is_regression:
        return rule.metric.title
    if rule.against is None:
        return f"{rule.metric.title}, limit"
    return f"{rule.metric.title}, times {shortened(rule.against.cell.label())}"


def explain(verdict: Verdict, decision: Decision) -> str:
    """Return why a rule has its outcome."""
    finding = shown_finding(decision)
    why = decision.why
    if outcome_of(verdict, decision) != decision.outcome:
        why += ", but the control of another rule differs"
    if finding.limit > finding.rule.limit:
        why += f"; the floor of {finding.rule.metric.show(finding.rule.floor)} sets the limit"
    return why


def headline(verdict: Verdict, quote: Quote = shortened) -> str:
    """Return the verdict on one line."""
    line = f"{WORDS[verdict.result]}: {'; '.join(reasons(verdict, quote))}"
    return f"{line}. {advice(verdict)}" if advice(verdict) else line


def reasons(verdict: Verdict, quote: Quote) -> list[str]:
    """Return why the result is what it is: texts without a full stop, those furthest over a limit first."""
    over = [describe(verdict, decision.last, quote) for decision in _largest_first(verdict.decided("regression"))]
    if verdict.result == "regression":
        return over
    if verdict.result == "inconclusive":
        unclear = [_unclear(verdict, decision, quote) for decision in _largest_first(verdict.decided("inconclusive"))]
        return [*unclear, *(f"over its limit, but a control differs: {text}" for text in over)]
    rules, rounds = len(verdict.course.decisions), sum(stage.rounds for stage in verdict.course.stages)
    facts = f"{rules} {'rule' if rules == 1 else 'rules'}, {rounds} {'round' if rounds == 1 else 'rounds'}"
    once = [describe(verdict, decision.findings[0], quote) for decision in verdict.decided("not reproduced")]
    return [f"no metric is over its limit ({facts})", *(f"not reproduced in new samples: {text}" for text in once)]


def advice(verdict: Verdict) -> str:
    """Return what to do about an inconclusive verdict, "" for any other."""
    if verdict.result != "inconclusive":
        return ""
    if any(control_fired(decision) for decision in verdict.course.decisions):
        return "Repeat the gate on an otherwise idle machine."
    if any(stage.rounds >= verdict.settings.max_rounds for stage in verdict.course.stages):
        return "Repeat the gate on a quieter machine, or with a larger tolerance."
    return f"Repeat the gate with more time, such as budget_s={2 * verdict.settings.budget_s:g}, or a quieter machine."


def describe(verdict: Verdict, finding: Finding, quote: Quote) -> str:
    """Return cell, metric and figures of a finding."""
    rule, scale = finding.rule, ratio_scale(finding.rule)
    facts = [f"{confidence(verdict)} interval {scale.interval(finding.shift)}"]
    if rule.is_regression:
        before = rule.metric.show(finding.reference_median, unit=False)
        facts.append(f"{before} -> {rule.metric.show(finding.median)}")
    facts.append(f"limit {scale.limit(finding.limit)}")
    times_what = f" {quote(rule.against.cell.label())}" if rule.against and not rule.is_regression else ""
    size = f"{scale.show(finding.shift.ratio)}{times_what}"
    return f"{quote(rule.cell.label())}: {rule.metric.title} {size} ({'; '.join(facts)})"


def _unclear(verdict: Verdict, decision: Decision, quote: Quote) -> str:
    finding = shown_finding(decision)
    if not finding.control_fires or finding.control is None:
        return f"{describe(verdict, finding, quote)}: {decision.why}"
    scale = ratio_scale(finding.rule)
    size = f"{scale.show(finding.control.ratio)} ({scale.interval(finding.control)})"
    return f"{quote(finding.rule.cell.label())}: {finding.rule.metric.title}: {decision.why}: {size}"


def _largest_first(decisions: list[Decision]) -> list[Decision]:
    return sorted(decisions, key=lambda decision: -decision.last.shift.ratio / decision.last.limit)


def _percent(ratio: float) -> str:
    change = round((ratio - 1.0) * 100.0, 1) + 0.0  # a zero without a minus
    return f"{change:+,.0f}" if abs(change) >= 100 else f"{change:+.1f}"
