"""What a gate leaves: Markdown and the plot."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.gate.decide.rules import Place, no_slower
from bench.gate.decide.sequence import Decision
from bench.gate.outputs import markdown, plot, structured, write_outputs
from bench.gate.outputs.wording import shortened
from bench.report.saving import save
from tests.bench.gate.outputs.verdicts import (
    CELL,
    HOSTILE,
    OTHER,
    OVER,
    PEAK,
    TEXTS,
    TOTAL,
    all_kinds,
    decision_of,
    hostile_verdict,
    parsed_junit,
    verdict_of,
)
from tests.bench.support import fakes


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


@pytest.mark.drawing
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


@pytest.mark.drawing
def test_the_same_verdict_gives_the_same_bytes(tmp_path):
    made = []
    for name in ("one", "two"):
        write_outputs(verdict_of(*all_kinds(), stages=2), tmp_path / name)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert len(made[0]) == 5


@pytest.mark.drawing
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
