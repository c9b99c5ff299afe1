"""``junit.xml``: a test case for each rule, which CI systems show beside the other tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bench.gate.outputs.wording import describe, explain, outcome_of, rule_title, shortened, shown_finding

if TYPE_CHECKING:
    from bench.gate.decide.sequence import Decision, RuleOutcome
    from bench.gate.decide.verdict import Verdict

CHILDREN: dict[RuleOutcome, str] = {
    "regression": "failure",
    "inconclusive": "error",
    "ok": "system-out",
    "not reproduced": "system-out",
}
"""What a test case contains. An inconclusive rule is an error: a pass would hide that there is no result."""


def render(verdict: Verdict) -> str:
    """Return the document."""
    outcomes = [outcome_of(verdict, decision) for decision in verdict.course.decisions]
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("regression")),
        "errors": str(outcomes.count("inconclusive")),
        "skipped": "0",
        "time": f"{verdict.measured_s:.3f}",
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "bench.gate", **counts})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("base", verdict.base.commit), ("head", verdict.head.commit), ("result", verdict.result)):
        ElementTree.SubElement(properties, "property", {"name": name, "value": shortened(value)})
    for decision in verdict.course.decisions:
        _add_case(suite, verdict, decision)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: ElementTree.Element, verdict: Verdict, decision: Decision) -> None:
    rule, outcome = decision.rule, outcome_of(verdict, decision)
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": shortened(rule.cell.label()), "name": rule_title(rule)}
    )
    child = ElementTree.SubElement(case, CHILDREN[outcome])
    child.text = f"{describe(verdict, shown_finding(decision), shortened)}: {explain(verdict, decision)}"
    if outcome in {"regression", "inconclusive"}:
        child.attrib |= {"message": explain(verdict, decision), "type": outcome}
