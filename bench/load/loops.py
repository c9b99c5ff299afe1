"""The clients of one process: threads that ask, check and record.

In a closed loop each client asks again as soon as it has its answer. In an open loop requests are due at moments that
do not depend on answers: a free client takes the next one and waits for its moment. If all clients are busy, the
request waits, and the wait counts: its latency begins when it was due (Tene, "How NOT to Measure Latency", calls the
opposite coordinated omission).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from bench.load.observations import BUSY, ERROR, OK, WRONG, Observations, empty
from loader.errors import ServiceBusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bench.load.checking import References
    from bench.load.targets import Embed, EmbedBatch

LOOK_EVERY_S = 0.1
"""How often to check whether all clients are done: too rarely to use processor time, too often to cause a delay."""

MAX_MESSAGE_CHARACTERS = 200


class Loop:
    """The requests of one process, for its clients.

    Args:
        texts: to choose from.
        order: index of the text of each request.
        references: what answers must match.
        due_ns: when each request is due, in order, since the beginning; None for a closed loop.
    """

    def __init__(
        self,
        texts: Sequence[str],
        order: NDArray[np.int64],
        references: References,
        due_ns: NDArray[np.int64] | None = None,
    ) -> None:
        self._texts, self._order, self._references = texts, order.tolist(), references
        self._due_ns = None if due_ns is None else due_ns.tolist()
        self._found = empty(len(self._order))
        self._next, self._lock = 0, threading.Lock()
        self._begin_ns = 0
        self._asked_at_ns: dict[int, int] = {}
        self.messages: Counter[str] = Counter()

    def run(self, clients: Sequence[Embed], begin_ns: int, patience_s: float) -> Observations:
        """Make all requests and return their outcomes.

        Args:
            clients: each is called by a thread of its own.
            begin_ns: ``time.perf_counter_ns()`` at which to begin.
            patience_s: a client that waits longer for one answer is given up; the rest continue without it.
        """
        return self._run([self._client(embed) for embed in clients], begin_ns, patience_s)

    def run_batches(self, embed: EmbedBatch, size: int, begin_ns: int, patience_s: float) -> Observations:
        """Make all requests one batch after the other; each text of a batch takes as long as the batch."""
        return self._run([lambda: self._batches(embed, size)], begin_ns, patience_s)

    def _run(self, work: Sequence[Callable[[], None]], begin_ns: int, patience_s: float) -> Observations:
        self._begin_ns = begin_ns
        # Daemons: one whose answer never comes must not keep the process alive.
        threads = [threading.Thread(target=each, daemon=True) for each in work]
        _sleep_until(begin_ns)
        for thread in threads:
            thread.start()
        while any(thread.is_alive() and not self._is_lost(thread, patience_s) for thread in threads):
            time.sleep(LOOK_EVERY_S)
        # A copy: a late answer must not change what is being written.
        found = Observations(*(array.copy() for array in vars(self._found).values()))
        if missing := found.counts["unanswered"]:
            self.messages[f"no answer within {patience_s:g} s, or no client left to ask"] += missing
        return found

    def _is_lost(self, thread: threading.Thread, patience_s: float) -> bool:
        asked_at_ns = self._asked_at_ns.get(thread.ident or 0)
        return asked_at_ns is not None and time.perf_counter_ns() - asked_at_ns > patience_s * 1e9

    def _client(self, embed: Embed) -> Callable[[], None]:
        def ask_all() -> None:
            while (numbers := self._take(1)) is not None:
                number = numbers.start
                found, taken_ns = self._found, self._now_ns()
                due_ns = taken_ns if self._due_ns is None else self._due_ns[number]
                found.due_ns[number], found.taken_ns[number] = due_ns, taken_ns
                _sleep_until(self._begin_ns + due_ns)
                self._ask(numbers, lambda texts: [embed(texts[0])])

        return ask_all

    def _batches(self, embed: EmbedBatch, size: int) -> None:
        while (numbers := self._take(size)) is not None:
            span = slice(numbers.start, numbers.stop)
            self._found.due_ns[span] = self._found.taken_ns[span] = self._now_ns()
            self._ask(numbers, embed)

    def _take(self, size: int) -> range | None:
        with self._lock:
            numbers = range(self._next, min(self._next + size, len(self._order)))
            self._next = numbers.stop
        return numbers or None

    def _ask(self, numbers: range, embed: EmbedBatch) -> None:
        """Make one request and record its outcome."""
        found, span = self._found, slice(numbers.start, numbers.stop)
        texts = [self._texts[self._order[number]] for number in numbers]
        sent_ns = self._now_ns()
        found.sent_ns[span] = sent_ns
        self._asked_at_ns[threading.get_ident()] = self._begin_ns + sent_ns
        try:
            answers = dict(zip(numbers, embed(texts), strict=True))
        except ServiceBusyError as error:
            outcomes = [self._failed(BUSY, error)] * len(texts)
        except Exception as error:  # noqa: BLE001 - whatever a target raises is an outcome
            outcomes = [self._failed(ERROR, error)] * len(texts)
        else:
            found.done_ns[span] = self._now_ns()
            outcomes = [self._judge(number, answer) for number, answer in answers.items()]
        finally:
            del self._asked_at_ns[threading.get_ident()]
        found.outcome[span] = outcomes

    def _judge(self, number: int, answer: object) -> int:
        fault = self._references.fault(self._order[number], answer)
        if fault:
            self._note(fault)
        return WRONG if fault else OK

    def _failed(self, outcome: int, error: Exception) -> int:
        self._note(f"{type(error).__name__}: {error}")
        return outcome

    def _note(self, message: str) -> None:
        with self._lock:
            self.messages[message[:MAX_MESSAGE_CHARACTERS]] += 1

    def _now_ns(self) -> int:
        return time.perf_counter_ns() - self._begin_ns


def _sleep_until(moment_ns: int) -> None:
    left_ns = moment_ns - time.perf_counter_ns()
    if left_ns > 0:
        time.sleep(left_ns / 1e9)
