"""The queue before the model: everybody gets the own vectors, and nobody waits for ever or for others' mistakes."""

import asyncio

import numpy as np
import pytest

from loader.errors import ServiceBusyError, ServiceRefusedError, ServiceTimeoutError, ServiceUnavailableError
from loader.service.server.batcher import Batcher
from loader.service.server.counters import Counters
from tests.loader.service.wire import WAIT_S, Held, until
from tests.support.panics import panic

pytestmark = pytest.mark.real_model


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * WAIT_S))


def vectors(data):
    return np.frombuffer(data, "<f4").reshape(-1, 384)


async def held_batcher(provider, **options):
    """A batcher whose thread is in the middle of a computation, which ends when ``held.go`` is set."""
    held, counters = Held(provider), Counters()
    batcher = Batcher(held, counters, **options)
    batcher.start()
    first = asyncio.create_task(batcher.embed(["the first"], "query", WAIT_S))
    await until(held.begun.is_set)
    return held, counters, batcher, first


def test_vectors_are_those_of_the_provider(provider):
    async def main():
        batcher = Batcher(provider, Counters())
        batcher.start()
        query = await batcher.embed(["database connection"], "query", WAIT_S)
        documents = await batcher.embed(["one", "two"], "document", WAIT_S)
        await batcher.drain()
        return query, documents

    query, documents = run(main())
    assert np.array_equal(vectors(query)[0], provider.embed_query("database connection"))
    assert np.array_equal(vectors(documents), provider.embed_batch(["one", "two"]))


def test_what_waits_is_computed_together_and_everybody_gets_the_own_vector(provider):
    texts = [f"text number {number} of many " * (1 + number % 5) for number in range(64)]

    async def main():
        held, counters, batcher, first = await held_batcher(provider)
        tasks = [asyncio.create_task(batcher.embed([text], "query", WAIT_S)) for text in texts]
        await until(lambda: batcher.queued_texts == 64)
        held.go.set()
        answers = await asyncio.gather(*tasks)
        await first
        await batcher.drain()
        return held.calls, counters, answers

    calls, counters, answers = run(main())
    assert [len(asked) for _, asked in calls] == [1, 32, 32]
    assert (counters.requests, counters.texts, counters.batches, counters.longest_queue) == (65, 65, 3, 64)
    for text, answer in zip(texts, answers, strict=True):
        np.testing.assert_allclose(vectors(answer)[0], provider.embed_query(text), atol=1e-5)


def test_kinds_are_not_mixed_and_the_oldest_is_next(provider):
    async def main():
        held, _, batcher, first = await held_batcher(provider, max_batch_texts=3)
        asked = [
            ("document", ["a"]),
            ("query", ["b"]),
            ("document", ["c", "d"]),
            ("query", ["e"] * 5),
            ("query", ["f"]),
        ]
        tasks = [asyncio.create_task(batcher.embed(texts, kind, WAIT_S)) for kind, texts in asked]
        await until(lambda: batcher.queued_texts == 10)
        held.go.set()
        await asyncio.gather(first, *tasks)
        await batcher.drain()
        return held.calls[1:]

    assert run(main()) == [("document", ["a", "c", "d"]), ("query", ["b", "f"]), ("query", ["e"] * 5)]


def test_a_full_queue_refuses_and_recovers(provider):
    async def main():
        held, counters, batcher, first = await held_batcher(provider, max_queued_texts=4)
        second = asyncio.create_task(batcher.embed(["b"] * 3, "query", WAIT_S))
        await until(lambda: batcher.queued_texts == 3)
        with pytest.raises(ServiceBusyError, match="3 of at most 4 texts are waiting already"):
            await batcher.embed(["c"] * 2, "query", WAIT_S)
        fits = asyncio.create_task(batcher.embed(["d"], "query", WAIT_S))
        held.go.set()
        await asyncio.gather(first, second, fits)
        await batcher.embed(["c"] * 2, "query", WAIT_S)
        await batcher.drain()
        return counters

    counters = run(main())
    assert (counters.busy, counters.requests, counters.pending) == (1, 4, 0)


@pytest.mark.parametrize("deadline_s", [0.0, 0.01])
def test_a_request_whose_turn_comes_too_late_is_not_computed(provider, deadline_s):
    async def main():
        held, counters, batcher, first = await held_batcher(provider)
        with pytest.raises(ServiceTimeoutError):
            await batcher.embed(["late"], "query", deadline_s)  # while the thread is still held
        assert batcher.queued_texts == 0
        held.go.set()
        await first
        await batcher.drain()
        return held.calls, counters

    calls, counters = run(main())
    assert calls == [("query", ["the first"])]
    assert (counters.timeouts, counters.pending, counters.answered) == (1, 0, 2)


def test_a_caller_that_leaves_takes_its_request_along(provider):
    async def main():
        held, counters, batcher, first = await held_batcher(provider)
        left = asyncio.create_task(batcher.embed(["left"], "query", WAIT_S))
        stays = asyncio.create_task(batcher.embed(["stays"], "query", WAIT_S))
        await until(lambda: batcher.queued_texts == 2)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        first.cancel()  # it has begun: computed in vain
        await asyncio.gather(first, return_exceptions=True)
        assert batcher.queued_texts == 1
        held.go.set()
        await stays
        await batcher.drain()
        return held.calls, counters

    calls, counters = run(main())
    assert calls == [("query", ["the first"]), ("query", ["stays"])]
    assert (counters.cancelled, counters.pending, counters.answered) == (2, 0, 1)


class Picky(Held):
    """Fails where a certain text is in the batch, with a message that quotes it."""

    def embed_texts_bytes(self, texts, kind, batch_size):
        found = super().embed_texts_bytes(texts, kind, batch_size)
        if "poison" in texts:
            raise RuntimeError("cannot digest 'poison'")
        return found


def test_only_the_guilty_request_fails_and_its_text_is_not_told(provider, caplog):
    caplog.set_level("DEBUG")

    async def main():
        picky, counters = Picky(provider), Counters()
        batcher = Batcher(picky, counters)
        batcher.start()
        first = asyncio.create_task(batcher.embed(["the first"], "query", WAIT_S))
        await until(picky.begun.is_set)
        asked = (["good"], ["poison"], ["better", "best"])
        tasks = [asyncio.create_task(batcher.embed(texts, "query", WAIT_S)) for texts in asked]
        await until(lambda: batcher.queued_texts == 4)
        picky.go.set()
        await first
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await batcher.drain()
        return answers, counters

    (good, poison, best), counters = run(main())
    assert np.array_equal(vectors(good)[0], provider.embed_query("good"))
    assert vectors(best).shape == (2, 384)
    assert isinstance(poison, ServiceRefusedError)
    assert "RuntimeError" in str(poison)
    assert "poison" not in str(poison)
    assert "poison" not in caplog.text
    assert (counters.refused, counters.answered) == (1, 4)


class Panicking(Held):
    """Panics where a certain text is in the batch."""

    def embed_texts_bytes(self, texts, kind, batch_size):
        found = super().embed_texts_bytes(texts, kind, batch_size)
        if "poison" in texts:
            panic()
        return found


def test_a_panic_is_the_answer_to_its_request_and_the_thread_goes_on(provider):
    async def main():
        panicking, counters = Panicking(provider), Counters()
        panicking.go.set()
        batcher = Batcher(panicking, counters)
        batcher.start()
        for _ in range(3):
            with pytest.raises(ServiceRefusedError, match="PanicException"):
                await batcher.embed(["poison"], "query", WAIT_S)
            assert vectors(await batcher.embed(["good"], "query", WAIT_S)).shape == (1, 384)
        await batcher.drain()

    run(main())


def test_everybody_learns_of_the_end_of_the_thread(provider, monkeypatch):
    """The thread ends between two batches, and while requests are in neither the queue nor a batch."""
    told = []

    async def main():
        held = Held(provider)
        batcher = Batcher(held, Counters(), on_death=told.append)
        batcher.start()
        first = asyncio.create_task(batcher.embed(["the first"], "query", WAIT_S))
        await until(held.begun.is_set)
        real = batcher._next_batch

        def lose():
            real()
            panic()

        monkeypatch.setattr(batcher, "_next_batch", lose)
        waiting = [asyncio.create_task(batcher.embed([text], "query", WAIT_S)) for text in "abc"]
        await until(lambda: batcher.queued_texts == 3)
        held.go.set()
        answers = await asyncio.gather(first, *waiting, return_exceptions=True)
        with pytest.raises(ServiceUnavailableError):
            await batcher.embed(["later"], "query", WAIT_S)
        await batcher.drain()
        return answers

    first, *others = run(main())
    assert np.array_equal(vectors(first)[0], provider.embed_query("the first"))
    assert [type(other) for other in others] == [ServiceUnavailableError] * 3
    (reason,) = told
    assert "PanicException" in str(reason)


def test_an_engine_that_depends_on_the_batch_gets_texts_alone(provider):
    class Dependent:
        batch_invariant = False

    async def main():
        held = Held(provider)
        held.engine_in_use = Dependent()
        held.go.set()
        batcher = Batcher(held, Counters())
        batcher.start()
        answer = await batcher.embed(["a", "b", "c"], "query", WAIT_S)
        await batcher.drain()
        return held.calls, answer

    calls, answer = run(main())
    assert calls == [("query", ["a"]), ("query", ["b"]), ("query", ["c"])]
    assert np.array_equal(vectors(answer), np.stack([provider.embed_query(text) for text in "abc"]))


def test_draining_finishes_what_was_accepted_and_refuses_the_rest(provider):
    async def main():
        held, _, batcher, first = await held_batcher(provider)
        second = asyncio.create_task(batcher.embed(["second"], "document", WAIT_S))
        await until(lambda: batcher.queued_texts == 1)
        draining = asyncio.create_task(batcher.drain())
        await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailableError):
            await batcher.embed(["third"], "query", WAIT_S)
        held.go.set()
        await draining
        batcher._thread.join(WAIT_S)
        assert not batcher._thread.is_alive()
        return await first, await second

    first, second = run(main())
    assert np.array_equal(vectors(first)[0], provider.embed_query("the first"))
    assert np.array_equal(vectors(second)[0], provider.embed_chunk("second"))


def test_abandoning_answers_those_that_have_not_begun(provider):
    async def main():
        held, _, batcher, first = await held_batcher(provider)
        second = asyncio.create_task(batcher.embed(["second"], "query", WAIT_S))
        await until(lambda: batcher.queued_texts == 1)
        batcher.abandon()
        with pytest.raises(ServiceUnavailableError):
            await second
        held.go.set()
        await first
        await batcher.drain()
        return held.calls

    assert run(main()) == [("query", ["the first"])]
