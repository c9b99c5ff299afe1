"""The advice does not change by noise, and does change where a strategy is really better: on the reference run."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.metrics import FLOORS, METRICS_BY_KEY
from bench.report.choice.candidates import choices
from bench.report.choice.recommend import recommend
from bench.report.choice.uses import USES
from bench.report.gather import gather
from bench.stats.summary import Spread
from tests.conftest import ROOT
from tests.support.tiers import representative

REFERENCE = ROOT / "reports" / "reference"
RESAMPLES = 400
ROUNDS = 60
"""Of protocol=thorough."""
KEYS = {criterion.key for use in USES for criterion in use.criteria}
SCENARIOS = {name for use in USES for criterion in use.criteria for name in criterion.scenarios}


@pytest.fixture(scope="module")
def reference():
    """What there is to choose from in the reference run, by model."""
    context = gather([REFERENCE / "full", REFERENCE / "waiting"], REFERENCE, flame_graphs=False)
    return {choice.model_key: choice for choice in choices(context)}


def rounds_of(choice):
    """The rounds of each run that went into a choice."""
    found = {}
    for record in choice.records:
        found.setdefault(record.run, set()).add(record.round)
    return {run: sorted(numbers) for run, numbers in sorted(found.items())}


def taken(choice, drawn):
    """The choice as if the runs had had these rounds; one that was drawn twice counts as two."""
    cells = {summary.cell for each in choice.candidates for summary in each.summaries.values()}
    by_round = {}
    for record in choice.records:
        if record.cell in cells and record.cell.scenario in SCENARIOS:
            by_round.setdefault((record.run, record.round), []).append(record)
    records = [
        replace(record, round=number)
        for run, numbers in drawn.items()
        for number, original in enumerate(numbers)
        for record in by_round.get((run, original), ())
    ]
    return with_records(choice, records)


def with_records(choice, records):
    """The choice with other records, and their medians."""
    values = {}
    for record in records:
        for key in KEYS:
            if (value := METRICS_BY_KEY[key].value(record)) is not None:
                values.setdefault(record.cell, {}).setdefault(key, []).append(value)
    candidates = tuple(
        replace(
            each,
            summaries={
                label: replace(
                    summary,
                    spreads={
                        key: Spread(len(found), statistics.median(found))
                        for key, found in values.get(summary.cell, {}).items()
                    },
                )
                for label, summary in each.summaries.items()
            },
        )
        for each in choice.candidates
    )
    return replace(choice, candidates=candidates, records=records)


def named(choice):
    return {each.use.key: each.winner.name if each.winner else None for each in recommend(choice)}


def test_as_measured_the_defaults_are_named(reference):
    for choice in reference.values():
        assert named(taken(choice, rounds_of(choice))) == named(choice) == {use.key: use.order[0] for use in USES}


@pytest.mark.parametrize("model", representative({"minilm"}, ["minilm", "minilm-l3", "mpnet"]))
def test_a_bootstrap_of_the_rounds_changes_no_name_more_often_than_the_rule_may_err(reference, model):
    choice, source = reference[model], random.Random(1)
    expected, changed = named(choice), dict.fromkeys((use.key for use in USES), 0)
    rounds = rounds_of(choice)
    for _ in range(RESAMPLES):
        drawn = {run: source.choices(numbers, k=len(numbers)) for run, numbers in rounds.items()}
        for use, name in named(taken(choice, drawn)).items():
            changed[use] += name != expected[use]
    assert max(changed.values()) <= 0.05 * RESAMPLES, changed


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["minilm", "minilm-l3", "mpnet"]), st.randoms(use_true_random=False), st.integers(1, 5))
def test_no_name_hangs_on_a_few_rounds(reference, model, source, left_out):
    choice = reference[model]
    drawn = {run: source.sample(numbers, len(numbers) - left_out) for run, numbers in rounds_of(choice).items()}
    assert named(taken(choice, drawn)) == named(choice)


def in_use(choice, use):
    return next(each for each in recommend(choice) if each.use.key == use)


def faster(record, cell, number, share):
    """A sample of another strategy that takes this share of everything."""
    spawn = record.marks_ns.get("spawn", 0)
    marks = {name: round(spawn + share * (mark - spawn)) for name, mark in record.marks_ns.items()}
    memory = {
        mark: {kind: round(share * size) for kind, size in kinds.items()} for mark, kinds in record.memory.items()
    }
    return replace(record, cell=cell, round=number, marks_ns=marks, memory=memory)


def planted(choice, use, rival, drawn=None, drawn_too=None, *, share=0.8):
    """The choice as if a rival took less than the winner of a use: in the same rounds, or in rounds of its own."""
    found = in_use(choice, use)
    of_rival = next(each for each in choice.candidates if each.name == rival)
    mine, theirs = (each.summaries[found.scenario].cell for each in (found.winner, of_rival))
    samples = {(record.run, record.round): record for record in choice.records if record.cell == mine}
    drawn, drawn_too = drawn or list(samples), drawn_too or drawn or list(samples)
    others = [record for record in choice.records if record.cell not in {mine, theirs}] if len(drawn) < ROUNDS else []
    records = [replace(samples[key], run="planted", round=number) for number, key in enumerate(drawn)]
    records += [
        replace(faster(samples[key], theirs, number, share), run="planted") for number, key in enumerate(drawn_too)
    ]
    return with_records(choice, records + others)


@pytest.mark.parametrize("model", ["minilm", "minilm-l3", "mpnet"])
@pytest.mark.parametrize(
    ("use", "rival"),
    [
        ("command_line_tool", "lazy"),
        ("command_line_tool", "cached"),
        ("service", "progressive"),
        ("test_suite", "background"),
        ("small_machine", "background"),
    ],
)
def test_a_strategy_that_takes_20_per_cent_less_is_named(reference, model, use, rival):
    before, after = (in_use(choice, use) for choice in (reference[model], planted(reference[model], use, rival)))
    assert before.is_default
    if 0.2 * before.value < FLOORS[METRICS_BY_KEY[before.criterion.key].unit]:
        assert after.is_default, "nobody notices less than 2 ms"
    else:
        assert after.winner.name == rival
        assert after.steps[0].names("better") == (rival,)


@pytest.mark.parametrize("model", ["minilm", "minilm-l3", "mpnet"])
def test_sixty_rounds_find_25_per_cent_in_the_noise_of_the_reference_run(reference, model):
    """Both strategies drawn independently from the rounds of the default, so that nothing pairs them but chance."""
    choice, source = reference[model], random.Random(1)
    default = in_use(choice, "command_line_tool")
    cell = default.winner.summaries[default.scenario].cell
    keys = [(record.run, record.round) for record in choice.records if record.cell == cell]
    found = [
        in_use(
            planted(choice, "command_line_tool", "cached", *(source.choices(keys, k=ROUNDS) for _ in "ab"), share=0.75),
            "command_line_tool",
        ).winner.name
        for _ in range(60)
    ]
    assert found.count("cached") >= 57, found.count("cached")
