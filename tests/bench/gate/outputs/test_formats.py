"""What a gate leaves for other programs."""

import json
import math

import pytest
from hypothesis import example, given, settings

from bench.gate.decide.rules import no_slower
from bench.gate.outputs import structured
from bench.gate.outputs.wording import headline, shortened
from tests.bench.gate.outputs.verdicts import (
    CELL,
    CONTROL,
    HOSTILE,
    MACHINE,
    OTHER,
    OVER,
    PEAK,
    TEXTS,
    all_kinds,
    decision_of,
    hostile_verdict,
    parsed_junit,
    verdict_of,
)
from tests.bench.support import fakes


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
