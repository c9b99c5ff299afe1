"""What a gate leaves: the line and the terminal."""

import dataclasses
import math
import random
import re

import pytest

from bench.gate.decide.rules import at_most, no_slower
from bench.gate.decide.sequence import Course, Decision, Stage, decide
from bench.gate.outputs import DOCUMENTS, markdown, show, write_outputs
from bench.gate.outputs.wording import headline
from bench.stats.shifts import Shift
from tests.bench.gate.outputs.verdicts import (
    CELL,
    CONTROL,
    HOSTILE,
    OTHER,
    OVER,
    PEAK,
    SETTINGS,
    TOTAL,
    UNCLEAR,
    decision_of,
    hostile_verdict,
    verdict_of,
)


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
