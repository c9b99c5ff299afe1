"""Pooling against numbers worked out by hand, for texts of different lengths beside each other."""

import json

import numpy as np
import pytest

from loader.encoder.pooling import Head
from loader.model.pipeline import Pipeline
from tests.support.tiny_bert import make_tiny_bert

# Of three texts with 1, 3 and 2 tokens; a column is a token.
TOKENS = np.array([[1, 3, -5, 5, 8, 2], [2, 0, 6, -3, 4, 4]], np.float32)
LENGTHS = [1, 3, 2]
POOLED = {
    "cls": [[1, 2], [3, 0], [8, 4]],
    "max": [[1, 2], [5, 6], [8, 4]],
    "mean": [[1, 2], [1, 1], [5, 4]],
    "mean_sqrt_len_tokens": [[1, 2], [3 / 3**0.5, 3 / 3**0.5], [10 / 2**0.5, 8 / 2**0.5]],
}


@pytest.fixture
def head(tmp_path):
    """Make a head with these poolings: ``head("mean", "max")``."""

    def make(*modes):
        folder = make_tiny_bert(tmp_path / "-".join(modes))
        settings = {"embedding_dimension": 32, "pooling_mode": list(modes)}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
        return Head(Pipeline(str(folder)), width=2)

    return make


@pytest.mark.parametrize("mode", POOLED)
def test_each_text_is_pooled_over_its_own_tokens(head, mode):
    made = head(mode)
    assert made.dimension == 2
    np.testing.assert_allclose(made(TOKENS, LENGTHS), POOLED[mode], rtol=1e-6)


def test_several_poolings_are_concatenated_in_the_order_of_the_settings(head):
    made = head("max", "mean")
    assert made.dimension == 4
    np.testing.assert_allclose(made(TOKENS, LENGTHS), np.hstack([POOLED["max"], POOLED["mean"]]), rtol=1e-6)


@pytest.mark.parametrize("mode", POOLED)
def test_a_text_alone_has_the_vector_that_it_has_among_others(head, mode):
    made, start = head(mode), 0
    for length, expected in zip(LENGTHS, POOLED[mode], strict=True):
        np.testing.assert_allclose(made(TOKENS[:, start : start + length], [length]), [expected], rtol=1e-6)
        start += length
