"""A test suite: the model loads once, while pytest collects. If it is missing, tests that need it are skipped.

python -m pytest test_search.py
"""

import pytest

from loader import ModelNotFoundError, cosine_similarity, preload_embeddings

# In a real suite, this line and the fixture belong in conftest.py.
model = preload_embeddings("all-MiniLM-L6-v2", "background", allow_download=False)


@pytest.fixture(scope="session")
def provider():
    try:
        return model.load(timeout=120)
    except ModelNotFoundError as error:
        pytest.skip(str(error))


def test_a_test_that_needs_no_model_does_not_wait():
    assert "connection".startswith("conn")


def test_similar_texts_have_similar_vectors(provider):
    query = provider.embed_query("database connection")
    near, far = provider.embed_batch(["How to connect to a database", "The logo is blue"])
    assert cosine_similarity(query, near) > cosine_similarity(query, far)
