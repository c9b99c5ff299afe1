"""What a gate leaves: right words, strict formats, the same bytes again, and text from outside stays text."""

import dataclasses
import json
import math
import random
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.data.metrics import METRICS_BY_KEY
from bench.gate.decide.rules import Finding, Place, at_most, no_slower
from bench.gate.decide.sequence import Course, Decision, DecisionSettings, Stage, decide
from bench.gate.decide.verdict import DependencyChange, Verdict
from bench.gate.outputs import DOCUMENTS, junit, markdown, plot, show, structured, write_outputs
from bench.gate.outputs.wording import headline, shortened
from bench.report.saving import save
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


class Measured:
    """A source of samples whose head takes ``factor`` as long, and its control ``drift``."""

    def __init__(self, factor=1.0, drift=1.0, noise=0.01):
        self._factors = {"base": 1.0, "same": drift, "head": factor}
        self._noise = noise
        self._random = random.Random(1)

    def take(self, blocks, stage):
        return {
            place: {
                key: size * self._factors[place.arm] * math.exp(self._random.gauss(0.0, self._noise))
                for key, size in (("total_ms", 100.0), ("peak_mib", 50.0))
            }
            for block in blocks
            for place in block
        }


def gated(**measured):
    ticks = iter(range(10**6))
    rules = [no_slower(CELL, TOTAL, 0.03, 0.0), no_slower(CELL, PEAK, 0.03, 0.0), at_most(CELL, TOTAL, 500.0, None)]
    course = decide(rules, Measured(**measured), SETTINGS, lambda: float(next(ticks)))
    return verdict_of(course=course)


class TestTheLine:
    def test_a_regression(self):
        assert headline(verdict_of(decision_of(), decision_of(**OVER), stages=2)) == (
            "REGRESSION: progressive/auto/minilm/cpu/idle: Total +12.4 % (95 % interval +10.1 to +14.9 %; "
            "91.2 -> 103 ms; limit +3 %)"
        )

    def test_all_regressions_are_named_the_largest_first(self):
        small = decision_of(no_slower(CELL, PEAK, 0.03, 0.0), **OVER | {"ends": (1.05, 1.04, 1.06)})
        limit = decision_of(at_most(CELL, TOTAL, 50.0, None), **OVER | {"ends": (100.0, 90.0, 110.0)})
        line = headline(verdict_of(small, decision_of(**OVER), limit))
        assert [float(number) for number in re.findall(r"(?:Total|Peak) (\S+)", line)] == [100.0, 12.4, 5.0]
        assert "Total 100 ms (95 % interval 90.0 to 110 ms; limit 50 ms)" in line

    def test_a_multiple_of_another_cell(self):
        rule = at_most(CELL, TOTAL, 2.0, OTHER)
        line = headline(verdict_of(decision_of(rule, **OVER | {"ends": (2.5, 2.25, 2.75)})))
        assert "Total 2.50 times baseline/minilm/cpu/idle (95 % interval 2.25 to 2.75 times; limit 2.00 times)" in line

    def test_a_pass(self):
        assert headline(verdict_of(decision_of())) == "OK: no metric is over its limit (1 rule, 22 rounds)"

    def test_what_was_not_reproduced_is_told(self):
        once = decision_of(outcome="not reproduced")
        line = headline(verdict_of(once, decision_of(), stages=2))
        assert line.startswith("OK: no metric is over its limit (2 rules, 44 rounds); not reproduced in new samples: ")

    @pytest.mark.parametrize(("rounds", "advised"), [(22, "budget_s=360"), (60, "a larger tolerance")])
    def test_an_unclear_one_says_what_to_do(self, rounds, advised):
        course = Course((Stage(rounds, 60.0, ()),), (decision_of(**UNCLEAR),))
        line = headline(verdict_of(course=course))
        assert line.startswith(
            "INCONCLUSIVE: progressive/auto/minilm/cpu/idle: Total +4.1 % (95 % interval -2.0 to +9.9 %"
        )
        assert "too noisy to tell. " in line
        assert advised in line

    def test_a_control_that_fires_voids_regressions(self):
        line = headline(verdict_of(decision_of(no_slower(CELL, PEAK, 0.03, 0.0), **OVER), decision_of(**CONTROL)))
        assert line.startswith(
            "INCONCLUSIVE: progressive/auto/minilm/cpu/idle: Total: the control differs as well: +8.0 %"
        )
        assert "over its limit, but a control differs: progressive/auto/minilm/cpu/idle: Peak +12.4 %" in line

    def test_a_control_that_fired_in_the_first_stage_is_shown(self):
        fired = decision_of(**CONTROL).last
        calm = dataclasses.replace(fired, control=Shift(1.0, 0.99, 1.01, 22, 0.997))
        verdict = verdict_of(Decision(fired.rule, "inconclusive", (fired, calm), "the control differs as well"))
        assert "+8.0 % (+4.0 to +12.0 %)" in headline(verdict)
        assert "+8.0 (+4.0 to +12.0)" in markdown.render(verdict)

    @pytest.mark.parametrize(
        ("measured", "word"),
        [
            ({}, "OK"),
            ({"factor": 1.2}, "REGRESSION"),
            ({"drift": 1.2}, "INCONCLUSIVE"),
            ({"noise": 0.5}, "INCONCLUSIVE"),
        ],
    )
    def test_of_measured_gates(self, measured, word, tmp_path):
        verdict = gated(**measured)
        assert headline(verdict).startswith(f"{word}: ")
        write_outputs(verdict, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {name for name, _ in DOCUMENTS} | {
            "shifts.png",
            "shifts.svg",
        }


class TestTheTerminal:
    def test_the_verdict_comes_first_in_one_line(self, capsys, tmp_path):
        verdict = verdict_of(*[decision_of(no_slower(CELL, PEAK, 0.03, 0.0), **OVER) for _ in range(9)])
        show(verdict, tmp_path, quiet=False)
        printed = capsys.readouterr().out
        assert printed.splitlines()[0] == headline(verdict)
        assert "\x1b" not in printed
        assert printed.count("95 % confidence") == 1
        assert "99.7" not in printed
        assert "verdict.md" in printed
        assert max(map(len, printed.splitlines()[1:-2])) <= 120

    def test_quiet(self, capsys, tmp_path):
        show(verdict_of(decision_of()), tmp_path, quiet=True)
        assert capsys.readouterr().out.splitlines() == [
            "OK: no metric is over its limit (1 rule, 22 rounds)",
            f"Report: {tmp_path / 'verdict.md'}",
        ]

    def test_colour_on_a_terminal_only(self, capsys, tmp_path, monkeypatch):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("FORCE_COLOR", "1")
        show(verdict_of(decision_of()), tmp_path, quiet=True)
        assert capsys.readouterr().out.startswith("\x1b[")

    def test_names_cannot_steer_it(self, capsys, tmp_path):
        for text in HOSTILE:
            show(hostile_verdict(text), tmp_path, quiet=False)
            printed = capsys.readouterr().out
            assert "\x1b" not in printed
            assert "\u202e" not in printed


class Page(HTMLParser):
    """The elements of a page, and the text of those that show text from outside."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.codes, self.comments = [], [], [], []
        self._depth = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "code":
            self._depth += 1
            self.codes.append("")

    def handle_endtag(self, tag):
        self._depth -= tag == "code"

    def handle_data(self, data):
        if self._depth:
            self.codes[-1] += data

    def handle_comment(self, data):
        self.comments.append(data)


def page_of(verdict):
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown.render(verdict)))


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


class TestMarkdown:
    def test_what_a_comment_says(self):
        text = markdown.render(verdict_of(*all_kinds(), stages=2))
        assert text.startswith(f"{markdown.MARKER}\n\n## \N{CROSS MARK} REGRESSION: 1 of 6 rules broken\n")
        assert text.count("95 % confidence") == 1
        assert "99.7" not in text
        for fact in (
            "91.2 ms | 91.2 ms | +0.0 | -1.0 to +1.0 | +3 | +0.0 (-2.0 to +2.0) | 22 | within its limit |",
            "92.0 ms | 90.0 to 94.0 ms | 100 ms | - | 22 |",
            "0.45 times | 0.40 to open | 0.50 times | <code>baseline/minilm/cpu/idle</code> |",
            "Second stage: 22 rounds in 60 s",
            "66, 3 of them",
            "16.0 GiB",
            "| <code>added</code> | - | <code>1.0</code> |",
            "```sh\npython -m bench.gate --base main --head HEAD\n```",
        ):
            assert fact in text

    def test_the_same_dependencies_are_said_to_be_the_same(self):
        assert "the same versions for both revisions" in markdown.render(verdict_of(decision_of(), changes=()))

    def test_a_limit_that_a_floor_sets_is_explained(self):
        rule = no_slower(CELL, TOTAL, 0.03, 5.0)
        finding = dataclasses.replace(decision_of(rule).last, limit=1.0548)
        text = markdown.render(verdict_of(Decision(rule, "ok", (finding,), "within its limit")))
        assert "| +5.5 |" in text
        assert "within its limit; the floor of 5.00 ms sets the limit |" in text

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(TEXTS)
    @example("".join(HOSTILE))
    def test_text_from_outside_stays_text(self, text):
        assume(shortened(text) != "-")  # shown as what it also stands for: nothing
        expected, page = page_of(hostile_verdict("plain")), page_of(hostile_verdict(text))
        assert page.tags == expected.tags
        assert page.attributes == expected.attributes
        assert page.comments == [" embedding-bench gate "]
        shown = shortened(text)
        assert page.codes.count(shown) >= expected.codes.count("plain")
        assert shortened(fakes.make_cell(text, model_key=text).label()) in page.codes

    @settings(deadline=None)
    @given(TEXTS)
    def test_the_command_is_shown_as_it_is(self, command):
        *_, shown = page_of(verdict_of(decision_of(), command=f"x {command} y")).codes
        visible = "".join(char if char.isprintable() or char in " \t\n" else "?" for char in f"x {command} y\n")
        assert shown == visible

    @given(TEXTS)
    def test_nobody_is_notified_and_nothing_is_linked(self, text):
        source = markdown.code(text)
        assert re.fullmatch(r"<code>[^<>@:#`|]*</code>", re.sub(r"&#\d+;", "", source))
        assert not re.search(r"www\.", source, re.IGNORECASE)


class TestStructured:
    def refuse(self, constant):
        raise AssertionError(constant)

    def test_is_strict_and_complete(self):
        verdict = verdict_of(*all_kinds(), stages=2)
        found = json.loads(structured.render(verdict), parse_constant=self.refuse)
        assert found["schema"] == 1
        assert (found["result"], found["exit_code"]) == ("regression", 1)
        assert found["headline"] == headline(verdict)
        assert found["base"] == {"asked": "main", "commit": "ab" * 20, "subject": "Load faster"}
        assert found["stages"] == [{"rounds": 22, "duration_s": 60.0}] * 2
        assert found["changed_dependencies"][1] == {"name": "added", "base": None, "head": "1.0"}
        assert (found["samples"], found["disturbed_samples"], found["measured_s"]) == (66, 3, 123.4)
        assert found["machine"] == MACHINE
        assert [len(decision["findings"]) for decision in found["decisions"]] == [1, 2, 1, 1, 1, 1]
        finding = found["decisions"][1]["findings"][1]
        assert finding["stage"] == 2
        assert finding["shift"] == {
            "estimate": 1.124,
            "low": 1.101,
            "high": 1.149,
            "unit": "ratio",
            "rounds": 22,
            "confidence_of_one_look": 0.997,
        }
        assert finding["limit"] == {"value": 1.03, "unit": "ratio"}
        assert finding["reference_median"] == {"value": 91.2, "unit": "MiB"}
        assert found["decisions"][4]["rule"]["limit"] == {"value": 100.0, "unit": "ms"}
        assert found["decisions"][5]["rule"]["against"]["cell"] == {"label": OTHER.label(), **OTHER.to_json()}

    def test_open_ends_are_null(self):
        (decision,) = structured.describe(verdict_of(all_kinds()[2]))["decisions"]
        assert decision["findings"][0]["shift"]["low"] is None
        (read,) = json.loads(structured.render(verdict_of(all_kinds()[2])))["decisions"]
        assert read["findings"][0]["shift"]["high"] is None

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_json_does_not_have_is_null(self, value):
        verdict = verdict_of(decision_of(), measured_s=value, machine=MACHINE | {"load_average_1min": value})
        found = json.loads(structured.render(verdict), parse_constant=self.refuse)
        assert found["measured_s"] is None
        assert found["machine"]["load_average_1min"] is None

    def test_what_a_fired_control_makes_of_a_regression(self):
        found = structured.describe(
            verdict_of(decision_of(no_slower(CELL, PEAK, 0.03, 0.0), **OVER), decision_of(**CONTROL))
        )
        assert found["exit_code"] == 3
        assert (found["decisions"][0]["outcome"], found["decisions"][0]["outcome_in_verdict"]) == (
            "regression",
            "inconclusive",
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


class TestJUnit:
    def test_a_case_for_each_rule(self):
        cases = parsed_junit(verdict_of(*all_kinds(), stages=2))
        assert [case[0].tag for case in cases] == ["system-out", "failure", "error", *["system-out"] * 3]
        assert cases[1].get("classname") == "progressive/auto/minilm/cpu/idle"
        assert cases[1].get("name") == "Peak"
        assert "+12.4 %" in cases[1][0].text
        names = [(case.get("classname"), case.get("name")) for case in cases]
        assert len(set(names)) == len(names)

    def test_nothing_fails_where_nothing_can_be_said(self):
        verdict = verdict_of(decision_of(no_slower(CELL, PEAK, 0.03, 0.0), **OVER), decision_of(**CONTROL))
        assert [case[0].tag for case in parsed_junit(verdict)] == ["error", "error"]

    @settings(deadline=None)
    @given(TEXTS)
    @example("".join(HOSTILE))
    def test_text_from_outside_stays_text(self, text):
        case, _ = parsed_junit(hostile_verdict(text))
        assert case.get("classname") == shortened(fakes.make_cell(text, model_key=text).label())


class TestThePlot:
    def test_states_have_shapes_of_their_own(self):
        shapes = [marker for _, marker, _ in plot._STATES.values()]
        assert len(set(shapes)) == len(shapes) == 3

    @pytest.mark.parametrize("text", HOSTILE)
    def test_any_name_is_drawn(self, text, tmp_path):
        save(plot.draw(hostile_verdict(text * 20)), tmp_path, "shifts")
        root = ElementTree.parse(tmp_path / "shifts.svg").getroot()
        assert root.tag.endswith("svg")

    def test_what_is_compared_and_what_has_a_limit_are_apart(self):
        figure = plot.draw(verdict_of(*all_kinds()))
        assert [axes.get_xlabel() for axes in figure.axes] == [
            "Change from base to head, in %",
            "Figure, in % of its limit",
        ]
        assert [len(axes.get_yticks()) for axes in figure.axes] == [4, 2]
        assert len(plot.draw(verdict_of(all_kinds()[4])).axes) == 1

    def test_a_wild_rule_does_not_flatten_the_others(self):
        wild = decision_of(no_slower(CELL, PEAK, 0.03, 0.0), **OVER | {"ends": (9.7, 8.1, 12.0)})
        low, high = plot.draw(verdict_of(decision_of(), wild)).axes[0].get_xlim()
        assert low < 0 < 3 < high < 100
        low, high = plot.draw(verdict_of(wild)).axes[0].get_xlim()
        assert high > 1100, "alone, it is shown whole"

    def test_open_intervals_reach_the_edges(self):
        axes = plot.draw(verdict_of(all_kinds()[2])).axes[0]
        assert all(map(math.isfinite, axes.get_xlim()))
        arrows = [line.get_marker() for line in axes.lines]
        assert arrows.count("<") == arrows.count(">") == 2, "of the rule and of its control"


def test_the_same_verdict_gives_the_same_bytes(tmp_path):
    made = []
    for name in ("one", "two"):
        write_outputs(verdict_of(*all_kinds(), stages=2), tmp_path / name)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert len(made[0]) == 5


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["over", "within", "unclear"]),
            st.sampled_from(["regression", "ok", "not reproduced", "inconclusive"]),
            st.tuples(*[st.one_of(st.floats(1e-9, 1e9), st.just(0.0), st.just(math.inf))] * 2),
            st.floats(1e-9, 1e9),
            st.sampled_from([None, Place("base", CELL), Place("head", OTHER)]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_figures_are_shown(drawn):
    decisions = []
    for state, outcome, ends, ratio, against in drawn:
        rule = dataclasses.replace(no_slower(CELL, TOTAL, 0.03, 0.0), against=against)
        low, high = (ends[0] if ends[0] < math.inf else 0.0), (ends[1] or math.inf)
        decisions.append(decision_of(rule, state=state, outcome=outcome, ends=(ratio, low, high)))
    verdict = verdict_of(*decisions)
    parsed_junit(verdict)
    text = markdown.render(verdict)
    assert "inf" not in text
    assert "nan" not in text
    assert json.loads(structured.render(verdict))["schema"] == 1
    for axes in plot.draw(verdict).axes:
        low, high = axes.get_xlim()
        assert math.isfinite(low)
        assert low < high < math.inf
