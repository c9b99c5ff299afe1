"""The rule for texts, and cosine similarity: pure logic."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loader import ArgumentTypeError, ArgumentValueError, TextError, cosine_similarity
from loader.text.rules import check_batch_size, check_text, check_texts


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_valid_text_passes_unchanged(text):
    assert check_text(text) is text


@pytest.mark.parametrize("text", ["\ud800", "fine \udcff here", "\udfff" * 3])
def test_lone_surrogates_are_refused_with_their_place(text):
    with pytest.raises(TextError, match=r"texts\[3\].*surrogate") as caught:
        check_text(text, "texts[3]")
    assert isinstance(caught.value, ValueError)
    str(caught.value).encode()


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["text"], math.nan, object()])
def test_other_types_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="must be a string"):
        check_text(text)


@pytest.mark.parametrize("texts", ["one text", b"bytes", None, 3])
def test_a_single_string_is_not_a_list_of_texts(texts):
    with pytest.raises(ArgumentTypeError, match="embed_query"):
        check_texts(texts)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)])
def test_batch_sizes(size, error):
    assert check_batch_size(7) == 7
    with pytest.raises(error, match="batch_size"):
        check_batch_size(size)


VECTORS = arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e150, 1e150, allow_subnormal=False))


@given(VECTORS)
def test_a_vector_is_like_itself_and_unlike_its_opposite(vector):
    if not vector.any():
        with pytest.raises(ArgumentValueError):
            cosine_similarity(vector, vector)
        return
    assert cosine_similarity(vector, vector) == pytest.approx(1.0)
    assert cosine_similarity(vector, -vector) == pytest.approx(-1.0)
    assert cosine_similarity(vector, vector * 3) == pytest.approx(1.0)


@given(
    st.integers(1, 20).flatmap(lambda n: st.tuples(*[arrays(np.float32, n, elements=st.floats(1, 2, width=32))] * 2))
)
def test_similarity_is_symmetric_and_bounded(pair):
    a, b = pair
    assert cosine_similarity(a, b) == pytest.approx(cosine_similarity(b, a), abs=1e-12)
    assert -1.0 <= cosine_similarity(a, b) <= 1.0
    assert isinstance(cosine_similarity(a, b), float)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0.0, 0.0], [1.0, 0.0]),
        ([1.0], [1.0, 2.0]),
        ([[1.0]], [[1.0]]),
        ([], []),
        (1.0, 1.0),
        ([math.nan], [1.0]),
        ([math.inf], [1.0]),
    ],
)
def test_what_has_no_cosine(a, b):
    with pytest.raises(ValueError, match="cosine_similarity"):
        cosine_similarity(a, b)
