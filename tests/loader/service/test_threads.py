"""One thread for a short request after a pause, all of them otherwise."""

import numpy as np
import pytest
import threadpoolctl

from loader import OptimizedEmbeddingLoader
from loader.service.server.threads import PAUSE_S, SHORT_CHARACTERS, MatrixThreads, matrix_threads
from tests.conftest import MINILM

SHORT, LONG = ["x" * SHORT_CHARACTERS], ["x", "x" * SHORT_CHARACTERS]


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


class Library:
    num_threads = 8

    def set_num_threads(self, num_threads):
        self.num_threads = num_threads


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def library():
    return Library()


@pytest.fixture
def threads(clock, library):
    return MatrixThreads([library], clock)


def test_the_first_request_if_it_is_short(threads, library):
    threads.begin(SHORT)
    assert library.num_threads == 1
    threads.end()
    assert library.num_threads == 1  # for the next one to decide


def test_a_long_one_has_all(threads, library):
    threads.begin(SHORT)
    threads.end()
    threads.begin(LONG)
    assert library.num_threads == 8


def test_one_that_follows_at_once_has_all_and_one_after_a_pause_has_not(threads, library, clock):
    for pause_s, expected in ((0.0, 8), (PAUSE_S, 8), (PAUSE_S * 1.01, 1), (PAUSE_S / 2, 8)):
        threads.begin(SHORT)
        threads.end()
        clock.now_s += pause_s
        threads.begin(SHORT)
        assert library.num_threads == expected
        threads.end()
        clock.now_s += 1


def test_a_pause_begins_with_the_end(threads, library, clock):
    threads.begin(LONG)
    clock.now_s += 1
    threads.end()
    threads.begin(SHORT)
    assert library.num_threads == 8


def test_what_the_user_has_set_is_the_most(clock):
    library = Library()
    library.num_threads = 1
    MatrixThreads([library], clock).begin(LONG)
    assert library.num_threads == 1


@pytest.mark.real_model
class TestTheLoader:
    def test_the_real_library_is_set(self):
        provider = OptimizedEmbeddingLoader(MINILM, engine="numpy").load(timeout=60)
        before = [found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"]
        threads = matrix_threads(provider, None)
        expected = provider.embed_query("database connection")
        try:
            threads.begin(["database connection"])
            now = [found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"]
            assert now == [1] * len(before)
            assert now
            np.testing.assert_allclose(provider.embed_query("database connection"), expected, rtol=0, atol=1e-6)
        finally:
            threads.begin(LONG)
        after = [found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"]
        assert after == before

    @pytest.mark.parametrize(("engine", "threads"), [("onnx", None), ("numpy", 1)])
    def test_it_is_not_our_affair(self, engine, threads, artifacts):
        provider = OptimizedEmbeddingLoader(MINILM, engine=engine).load(timeout=60)
        assert matrix_threads(provider, threads) is None
