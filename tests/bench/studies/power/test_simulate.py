"""Simulated gates, from made-up recordings whose truth is known."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.metrics import METRICS_BY_KEY
from bench.errors import ConfigError, RecordError
from bench.gate.decide.rules import ARMS, HEAD, Place, at_most, no_slower, places_of
from bench.gate.decide.sequence import DecisionSettings
from bench.studies.power.__main__ import main
from bench.studies.power.recordings import Recording, read_recording, write_recording
from bench.studies.power.report import read_study, real_table, simulation_table
from bench.studies.power.simulate import Question, Replay, simulate
from tests.bench.support.commands import call
from tests.bench.support.fakes import make_cell

pytestmark = pytest.mark.process

TOTAL = METRICS_BY_KEY["total_ms"]
CELL = make_cell("progressive")
FLOOR = make_cell("import_numpy", subject="import_numpy", engine="")
RULES = (no_slower(CELL, TOTAL, 0.03, 0.0), at_most(CELL, TOTAL, 1.6, FLOOR))
PLACES = [Place(arm, CELL) for arm in ARMS] + [Place(HEAD, FLOOR)]


def make_recording(rounds=60, noise=0.05, head=1.0, seed=1):
    """A recording whose head takes ``head`` times as long as its base."""
    chance = random.Random(seed)
    found = []
    for _ in range(rounds):
        mood = 100 * chance.lognormvariate(0, 0.2)
        values = {place: {"total_ms": mood * chance.lognormvariate(0, noise)} for place in PLACES}
        values[Place(HEAD, CELL)] = {"total_ms": values[Place(HEAD, CELL)]["total_ms"] * head}
        values[Place(HEAD, FLOOR)] = {"total_ms": mood * 0.7}
        found.append(values)
    return Recording(
        "python -m bench.study record", ["seed=1"], {"processor": "x"}, "2026-01-01", found, [0.4] * rounds
    )


def make_question(**changes):
    question = Question(RULES, DecisionSettings(0.95, 0.1, 60.0, 100), "total_ms", 5, 1)
    return replace(question, **changes)


def test_nothing_is_found_where_nothing_is():
    tally = simulate([make_recording()], make_question(), 0.0, 60)
    assert tally.regressions == 0
    assert tally.rate[0] == 0.0
    assert tally.rate[1] == 0.0 < tally.rate[2] < 0.1


def test_what_is_there_is_found():
    tally = simulate([make_recording()], make_question(), 0.25, 60)
    assert tally.regressions == 60
    assert 0 < tally.median_s < 60
    assert tally.slowest_s >= tally.median_s
    assert tally.median_rounds >= 30, "two stages of 15 at least"


def test_the_recording_itself_can_be_slower():
    assert simulate([make_recording(head=1.3)], make_question(), 0.0, 20).regressions == 20


def test_every_recording_is_drawn_from():
    recordings = [make_recording(seed=1), make_recording(head=2.0, seed=2)]
    assert simulate(recordings, make_question(), 0.0, 40).regressions == 20


def test_a_simulation_can_be_repeated():
    first, second = (simulate([make_recording()], make_question(), 0.06, 30) for _ in range(2))
    assert first == second
    assert simulate([make_recording()], make_question(seed=2), 0.06, 30) != first


def test_only_our_own_head_gets_slower():
    recording = make_recording()
    replay = Replay(recording, make_question(block=1), 0.5, random.Random(1))
    taken = replay.take(places_of(RULES), 1)
    source = next(found for found in recording.rounds if found[PLACES[0]] == taken[PLACES[0]])
    for place in PLACES:
        factor = 1.5 if place == Place(HEAD, CELL) else 1.0
        assert taken[place]["total_ms"] == source[place]["total_ms"] * factor
    assert replay.clock() == 0.4


@given(st.integers(1, 10), st.integers(0, 1000))
def test_blocks_keep_their_order(block, seed):
    recording = make_recording(20)
    replay = Replay(recording, make_question(block=block), 0.0, random.Random(seed))
    taken = [replay.take([tuple(PLACES)], 1)[PLACES[0]]["total_ms"] for _ in range(3 * block)]
    order = [found[PLACES[0]]["total_ms"] for found in recording.rounds]
    places = [order.index(value) for value in taken]
    for begin in range(0, len(places), block):
        assert places[begin : begin + block] == list(range(places[begin], places[begin] + block))


@pytest.mark.parametrize(
    ("recording", "changes", "message"),
    [
        (make_recording(9), {}, "too short"),
        (make_recording(), {"metric": "no_ms"}, "no_ms is not a metric"),
        (make_recording(), {"rules": (no_slower(make_cell("lazy"), TOTAL, 0.03, 0),)}, "has no lazy"),
    ],
)
def test_what_cannot_be_simulated(recording, changes, message):
    with pytest.raises(ConfigError, match=message):
        simulate([recording], make_question(**changes), 0.0, 10)


def test_a_recording_is_written_and_read(tmp_path):
    recording = make_recording(3)
    recording = replace(recording, rounds=[*recording.rounds[:2], {**recording.rounds[2], PLACES[0]: {}}])
    write_recording(tmp_path / "r.json", recording, ["total_ms"])
    assert read_recording(tmp_path / "r.json") == recording


@settings(deadline=None)
@given(st.sampled_from(range(3000)), st.binary(max_size=3))
def test_a_damaged_recording_is_said(tmp_path_factory, position, junk):
    file = tmp_path_factory.mktemp("recording") / "r.json"
    write_recording(file, make_recording(2), ["total_ms"])
    whole = file.read_bytes()
    file.write_bytes(whole[:position] + junk)
    try:
        read_recording(file)
    except RecordError as error:
        assert "r.json" in str(error)
    else:
        assert file.read_bytes().strip() == whole.strip() or position >= len(whole)


def test_the_command(tmp_path, capsys):
    # The rules come from conf/gate, so the recording has the default gate's places.
    from bench.gate.config import load_gate, make_rules
    from bench.plan.cell import EMPTY

    overrides = ["max_rounds=60"]
    rules = make_rules(load_gate(overrides))
    places = [place for block in places_of(rules) for place in block]
    chance = random.Random(1)
    rounds = [
        {
            place: {
                key: size * chance.lognormvariate(0, 0.03)
                for key, size in (
                    {"process_ms": 10.0}
                    if place.cell.subject == EMPTY
                    else {"total_ms": 30.0, "init_ms": 6.0, "peak_mib": 70.0}
                ).items()
            }
            for place in places
        }
        for _ in range(40)
    ]
    recording = Recording("c", overrides, {}, "2026-01-01", rounds, [0.4] * 40)
    write_recording(tmp_path / "r.json", recording, ["init_ms", "peak_mib", "process_ms", "total_ms"])
    words = ["simulate", str(tmp_path / "r.json"), "--gates", "20", "--effects", "0", "0.3"]
    assert call(main, [*words, "--json", str(tmp_path / "s.json")]) == 0
    study = read_study(tmp_path / "s.json")
    assert [tally["regressions"] for tally in study["tallies"]] == [0, 20]
    table = simulation_table(study)
    assert [row[0] for row in table.rows] == ["nothing", "30 %"]
    assert table.rows[1][3] == "100.0 %"
    assert call(main, ["report", str(tmp_path / "s.json"), "--output", str(tmp_path)]) == 0
    assert "| nothing | 20 | 0 |" in capsys.readouterr().out
    assert (tmp_path / "power.png").stat().st_size > 5000
    assert (tmp_path / "power.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 2, "gates": []}'])
def test_what_is_no_study(tmp_path, text, capsys):
    (tmp_path / "s.json").write_text(text)
    assert call(main, ["report", str(tmp_path / "s.json")]) == 2
    assert "s.json" in capsys.readouterr().err


def test_the_table_of_real_gates():
    shift = {"estimate": 1.25, "low": 1.2, "high": 1.31}
    decision = {
        "rule": {"metric": "total_ms", "against": {"arm": "base"}},
        "findings": [{"shift": {"estimate": 9.0, "low": 9.0, "high": 9.0}}, {"shift": shift}],
    }
    gate = {
        "effect": 0.25,
        "result": "regression",
        "stages": [{"rounds": 15}, {"rounds": 22}],
        "measured_s": 16.4,
        "samples": 148,
        "disturbed_samples": 3,
        "decisions": [{"rule": {"metric": "init_ms", "against": None}, "findings": []}, decision],
    }
    assert real_table({"gates": [gate]}).rows == (
        ("1", "25 %", "regression", "+25.0 (+20.0 to +31.0)", "15 + 22", "16", "3 of 148"),
    )
    with pytest.raises(RecordError):
        real_table({"gates": [gate | {"decisions": []}]})
