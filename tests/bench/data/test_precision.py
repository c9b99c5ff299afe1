"""What the harness says of the strategies' precisions is what the loader does."""

import pytest

from bench.data.fidelity import MIN_COSINE, precision_of
from loader.strategies import PRECISIONS, STRATEGIES


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_has_the_precision_of_its_row(name):
    assert precision_of(name) == STRATEGIES[name].precision


def test_each_precision_has_its_least_cosine():
    assert set(MIN_COSINE) == set(PRECISIONS)
