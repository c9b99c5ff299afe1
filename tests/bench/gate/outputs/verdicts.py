"""Verdicts of every kind."""

import math
from types import SimpleNamespace
from xml.etree import ElementTree

from hypothesis import strategies as st

from bench.data.metrics import METRICS_BY_KEY
from bench.gate.decide.rules import Finding, at_most, no_slower
from bench.gate.decide.sequence import Course, Decision, DecisionSettings, Stage
from bench.gate.decide.verdict import DependencyChange, Verdict
from bench.gate.outputs import junit
from bench.stats.shifts import Shift
from tests.bench.support import fakes

TOTAL, PEAK = METRICS_BY_KEY["total_ms"], METRICS_BY_KEY["peak_mib"]


CELL, OTHER = fakes.make_cell("progressive"), fakes.make_cell("baseline")


MACHINE = {
    "system": "Linux 6",
    "machine": "x86_64",
    "processor": "made up",
    "processors_usable": 2,
    "memory_bytes": 2**34,
    "python": "CPython 3.11.0",
    "packages": {"torch": "2.0", "numpy": None},
    "load_average_1min": 0.1,
}


SETTINGS = DecisionSettings(confidence=0.95, resolution=0.05, budget_s=180.0, max_rounds=60)


OVER = {"state": "over", "ends": (1.124, 1.101, 1.149), "outcome": "regression", "why": "over its limit in both stages"}


UNCLEAR = {"state": "unclear", "ends": (1.041, 0.98, 1.099), "outcome": "inconclusive", "why": "too noisy to tell"}


CONTROL = {"outcome": "inconclusive", "why": "the control differs as well", "control": (1.08, 1.04, 1.12)}


HOSTILE = (
    "<script>alert(1)</script>",
    "a|b \\| c",
    "`code` ``` ~~~",
    "--> <!-- <details> </details>",
    "@someone #12 org/repo#3 someone@example.org",
    "www.example.org https://example.org",
    "**bold** [x](http://y) ![x](y) &lt; &amp; :tada: $x$",
    "line\n\n# two\r\n| a | b |",
    "\x1b[31m red \x00 \x07 \u202e \ud800 \ufffe",
    "</code></td>",
    "\n```\n<b>\n````\n",
)


TEXTS = st.one_of(
    st.text(st.characters(codec=None, categories=None)), st.sampled_from(HOSTILE), st.text("`<>|&@#\\\n-_")
)


def revision(subject="Load faster", asked="main"):
    return SimpleNamespace(asked=asked, commit="ab" * 20, short="ab" * 5, subject=subject)


def verdict_of(*decisions, stages=1, **changes):
    course = Course(tuple(Stage(22, 60.0, ()) for _ in range(stages)), decisions)
    fields = {
        "base": revision(),
        "head": revision(asked="HEAD"),
        "course": course,
        "settings": SETTINGS,
        "changes": (DependencyChange("torch", "2.0", "2.1"), DependencyChange("added", None, "1.0")),
        "machine": MACHINE,
        "samples": 66,
        "disturbed": 3,
        "measured_s": 123.4,
        "prepared_s": 55.0,
        "command": "python -m bench.gate --base main --head HEAD",
    }
    return Verdict(**{**fields, **changes})


def decision_of(
    rule=None,
    *,
    state="within",
    ends=(1.0, 0.99, 1.01),
    outcome="ok",
    why="within its limit",
    control=(1.0, 0.98, 1.02),
):
    rule = rule or no_slower(CELL, TOTAL, 0.03, 0.0)
    reference = 91.2 if rule.against else None
    median = 91.2 * ends[0] if rule.against else ends[0]
    apart = Shift(*control, 22, 0.997) if rule.control else None
    finding = Finding(rule, state, Shift(*ends, 22, 0.997), rule.limit, reference, median, apart)
    return Decision(rule, outcome, (finding,) * (2 if outcome == "regression" else 1), why)


def all_kinds():
    """A decision of every kind of rule, state and outcome, open intervals among them."""
    open_ends = (1.02, 0.0, math.inf)
    return [
        decision_of(),
        decision_of(no_slower(CELL, PEAK, 0.03, 0.0), **OVER),
        decision_of(no_slower(OTHER, TOTAL, 0.03, 0.0), **UNCLEAR | {"ends": open_ends}, control=open_ends),
        decision_of(no_slower(OTHER, PEAK, 0.03, 0.0), outcome="not reproduced", why="over its limit once"),
        decision_of(at_most(CELL, TOTAL, 100.0, None), ends=(92.0, 90.0, 94.0)),
        decision_of(at_most(CELL, TOTAL, 0.5, OTHER), ends=(0.45, 0.4, math.inf)),
    ]


def hostile_verdict(text):
    cell = fakes.make_cell(text, model_key=text)
    decisions = (
        decision_of(no_slower(cell, TOTAL, 0.03, 0.0), **OVER),
        decision_of(at_most(CELL, TOTAL, 0.5, cell), ends=(0.45, 0.4, 0.49)),
    )
    return verdict_of(
        *decisions,
        head=revision(text, text),
        changes=(DependencyChange(text, text, None),),
        machine=MACHINE | {"processor": text},
        command=f"python -m bench.gate --command {text!r}",
    )


def parsed_junit(verdict):
    """Parse and check what readers of the format rely on: the structure, and that the counts agree."""
    root = ElementTree.fromstring(junit.render(verdict).encode(errors="replace"))
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    assert [child.tag for child in suite] == ["properties"] + ["testcase"] * len(verdict.course.decisions)
    cases = suite.findall("testcase")
    for element in (root, suite):
        assert int(element.get("tests")) == len(cases)
        assert int(element.get("failures")) == len(suite.findall("testcase/failure"))
        assert int(element.get("errors")) == len(suite.findall("testcase/error"))
        assert int(element.get("skipped")) == len(suite.findall("testcase/skipped"))
        assert float(element.get("time")) >= 0.0
    for case in cases:
        assert set(case.attrib) == {"classname", "name"}
        (child,) = case
        assert child.tag in {"failure", "error", "system-out"}
        assert child.tag == "system-out" or set(child.attrib) == {"message", "type"}
    return cases
