"""Plans: which cells, how often, in which order."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.plan.cell import BASELINE
from bench.plan.config import BenchConf, ModelConf, NamedConf, ScenarioConf
from bench.plan.plan import make_plan
from tests.bench.support import fakes


def conf(strategy="lazy", model="minilm", device="cpu", **changes):
    fields = {
        "strategy": NamedConf(strategy),
        "engine": NamedConf("auto"),
        "model": ModelConf(model, f"org/{model}"),
        "device": NamedConf(device),
        "scenario": ScenarioConf("idle"),
        "cache_state": NamedConf("warm"),
        "protocol": fakes.make_protocol(),
        "baseline": True,
        "threads": None,
        "seed": 1,
        "quiet": True,
        "reports_dir": "reports",
        "run_name": "run",
    }
    return BenchConf(**{**fields, **changes})


def test_a_sweep_has_one_reference_for_each_model_and_device():
    jobs = [conf(s, m, d) for s in ("lazy", "progressive") for m in ("minilm", "mpnet") for d in ("cpu", "cuda")]
    cells = make_plan(jobs).cells
    assert Counter(cell.strategy for cell in cells) == {BASELINE: 4, "lazy": 4, "progressive": 4}
    assert len(set(cells)) == len(cells)
    assert len({cell.label() for cell in cells}) == len(cells)


def test_jobs_that_say_the_same_are_one_cell():
    assert len(make_plan([conf(), conf()]).cells) == 2
    assert len(make_plan([conf(baseline=False), conf(baseline=False)]).cells) == 1


@pytest.mark.parametrize("name", ["seed", "run_name", "baseline", "protocol"])
def test_what_belongs_to_the_run_cannot_be_swept(name):
    other = {"seed": 2, "run_name": "other", "baseline": False, "protocol": fakes.make_protocol(rounds=9)}[name]
    with pytest.raises(ConfigError, match=f"{name} cannot be swept"):
        make_plan([conf(), conf(**{name: other})])


@given(st.integers(1, 6), st.integers(0, 2), st.integers(1, 5), st.integers())
def test_every_round_has_every_cell_once(cells, warmups, rounds, seed):
    made = [fakes.make_cell(f"s{index}") for index in range(cells)]
    plan = fakes.make_plan(*made, seed=seed, warmup_rounds=warmups, rounds=rounds)
    all_rounds = list(plan.rounds())
    assert len(all_rounds) == warmups + rounds
    for number, slots in enumerate(all_rounds):
        assert sorted(slot.cell for slot in slots) == sorted(made)
        assert all(slot.round == number and slot.is_warmup == (number < warmups) for slot in slots)
    assert sum(map(len, all_rounds)) == plan.sample_count  # no passes
    assert list(plan.rounds()) == all_rounds, "the same seed gives the same order"


def test_rounds_are_shuffled_and_references_lead_the_first():
    made = [fakes.make_cell(f"s{index}") for index in range(5)] + [fakes.make_cell(BASELINE)]
    rounds = list(fakes.make_plan(*made, rounds=20).rounds())
    assert rounds[0][0].cell.is_baseline
    assert len({tuple(slot.cell for slot in slots) for slots in rounds}) > 10
    firsts = Counter(slots[0].cell for slots in rounds[1:])
    assert len(firsts) > 3, "no cell has a place of its own"
