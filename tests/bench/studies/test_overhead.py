"""bench.studies.overhead: what a vector costs a fresh process, in interpreters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.measure.variables import worker_environment
from bench.studies.overhead import (
    COMMANDS,
    FIRST_RUN,
    REFERENCE,
    SEARCHES,
    TOLERANCE,
    _agrees,
    _run,
    measure,
    summarise,
)
from loader.runtime.paths import CACHE_VARIABLE

pytestmark = pytest.mark.process

SECONDS = st.lists(st.floats(0.001, 10.0), min_size=1, max_size=30)


@given(SECONDS, st.floats(1.0, 100.0))
def test_a_command_that_always_takes_so_many_times_longer(base, times):
    first, second = summarise({REFERENCE: base, "command, service": [times * value for value in base]})
    assert first.shift is None
    assert second.shift.ratio == pytest.approx(times)
    assert second.median_s == pytest.approx(times * first.median_s)
    assert first.lowest_s <= first.median_s <= first.highest_s


@pytest.mark.parametrize(
    ("vector", "agrees"),
    [
        ([0.6, 0.8], True),
        ([0.6 + TOLERANCE / 2, 0.8], True),
        ([0.8, 0.6], False),
        ([0.6], False),
        ([0.6, float("nan")], False),
    ],
)
def test_another_vector_is_noticed(vector, agrees):
    assert _agrees(vector, [0.6, 0.8]) is agrees


@pytest.mark.real_model
def test_a_run(minilm_folder, tmp_path, python):
    report = tmp_path / "overhead.json"
    words = [
        "-m",
        "bench.overhead",
        "--rounds",
        "2",
        "--passages",
        "50",
        "--model",
        str(minilm_folder),
        "--json",
        str(report),
    ]
    done = python(None, *words)
    assert done.code == 0, done.err
    found = json.loads(report.read_text())
    assert list(found["seconds"]) == list(COMMANDS)
    assert (found["rounds"], found["passages"]) == (2, 50)
    assert all(len(values) == 2 and min(values) > 0 for values in found["seconds"].values())


@pytest.mark.parametrize("name", [FIRST_RUN, "library, progressive"])
def test_only_a_first_run_has_an_empty_cache(name, tmp_path, monkeypatch):
    listing = "import os; cache = os.environ['{}']; print(os.path.isdir(cache) and os.listdir(cache), end='')"
    monkeypatch.setitem(COMMANDS, name, ("-c", listing.format(CACHE_VARIABLE)))
    (tmp_path / "kept").touch()
    for _ in range(2):
        outcome = _run(name, "model", worker_environment(tmp_path), None)
        assert outcome.output.decode() == ("[]" if name == FIRST_RUN else "['kept']")


def test_another_search_result_is_noticed(tmp_path, monkeypatch):
    """Two searches that find different passages, and vectors that are right."""
    vector = ("-c", "print('00' * 8)")
    for name in COMMANDS:
        monkeypatch.setitem(COMMANDS, name, vector)
    for name in SEARCHES:
        monkeypatch.setitem(COMMANDS, name, ("-c", f"print({name!r})"))
    environ = worker_environment(tmp_path)
    with pytest.raises(BenchError, match="another search"):
        measure("model", 1, environ, tmp_path / "aur.sqlite")
    assert set(measure("model", 1, environ, None)) == set(COMMANDS) - set(SEARCHES)


def test_a_model_that_is_nowhere(tmp_path, python):
    done = python(None, "-m", "bench.overhead", "--rounds", "1", "--model", str(tmp_path / "nowhere"))
    assert done.code == 2
    assert "nowhere" in done.err
