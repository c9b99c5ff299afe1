"""Sharing jobs among hosts: one at a time for each, and no job is lost with its host."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from bench.fleet.jobs import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.fleet.jobs import Job

H = TypeVar("H")
"""A host."""
T = TypeVar("T")
"""A job that a host works on; hashable."""


@dataclass(frozen=True)
class HostLost:
    """The host is gone, and its job with it.

    Attributes:
        message: how that was noticed.
    """

    message: str


@dataclass(frozen=True)
class Pool(Generic[H, T]):
    """Hosts that run jobs.

    Attributes:
        begin: makes a host begin a job.
        await_one: blocks until one of these ends; returns it with its answer.
        say: is told what happens to hosts.
    """

    begin: Callable[[H, Job], T]
    await_one: Callable[[Sequence[T]], tuple[T, Answer | HostLost]]
    say: Callable[[str], None]

    def share(self, jobs: Iterable[Job], hosts: Iterable[H]) -> Iterator[tuple[Job, Answer]]:
        """Yield each job with its answer, in the order in which they end.

        A lost host gets no further job. Its current job is given to another host, once.
        """
        waiting, free = deque(jobs), deque(hosts)
        running: dict[T, tuple[Job, H]] = {}
        moved: dict[str, str] = {}
        while waiting or running:
            while waiting and free:
                job, host = waiting.popleft(), free.popleft()
                running[self.begin(host, job)] = (job, host)
            if not running:
                for job in waiting:
                    yield job, Answer("failed", f"no host is left; {moved.get(job.name, 'the job never started')}")
                return
            ticket, outcome = self.await_one(list(running))
            job, host = running.pop(ticket)
            if isinstance(outcome, Answer):
                free.append(host)
                yield job, outcome
            elif job.name in moved:
                yield job, Answer("failed", f"two hosts were lost: {moved[job.name]}; {outcome.message}")
            else:
                moved[job.name] = outcome.message
                waiting.appendleft(job)
                self.say(f"{job.name}: its host was lost, another one starts it again ({outcome.message})")
