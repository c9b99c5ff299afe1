"""Jobs on the nodes of a Ray cluster: one actor on each, which runs one job at a time."""

from __future__ import annotations

import functools
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.fleet.host import GRACE_S, JobHost
from bench.fleet.jobs import Answer, to_answer
from bench.fleet.pool import HostLost, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.fleet.jobs import Job

MESSAGE_CHARACTERS = 400
"""Ray's errors contain whole logs."""


@dataclass(frozen=True)
class RayBackend:
    """Jobs on the nodes of a Ray cluster.

    Attributes:
        address: the cluster's address, as for ``ray.init``; None for that in ``RAY_ADDRESS``, else a cluster that runs
            on this machine, else a new one for these jobs; ``"local"`` always starts a new one.
        num_cpus: processors that a job reserves on its node. 0: the cluster may run other work beside it.
        num_gpus: GPUs that a job reserves on its node.
    """

    address: str | None
    num_cpus: float
    num_gpus: float

    def run(
        self,
        jobs: Sequence[Job],
        folder: Path,  # noqa: ARG002 - the nodes need no access to it
        say: Callable[[str], None],
    ) -> Iterator[tuple[Job, Answer]]:
        """Yield each job with its answer, in the order in which they end; see ``bench.fleet.jobs.Backend``."""
        ray = _connect(self.address)
        actors: list[Any] = []
        try:
            actors = self._make_actors(ray)
            say(f"{len(jobs)} jobs for {len(actors)} hosts")
            pool = Pool(_begin, functools.partial(_await_one, ray), say)
            yield from pool.share(jobs, actors)
        finally:
            _end(ray, actors)
            ray.shutdown()

    def _make_actors(self, ray: Any) -> list[Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        host = ray.remote(JobHost)
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        return [
            host.options(
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
                max_concurrency=2,  # a job, and the call that ends it
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            ).remote()
            for node in nodes
        ]


def _connect(address: str | None) -> Any:
    """Return Ray, connected.

    Raises:
        BenchError: it is not installed, or there is no cluster.
    """
    # A measuring machine should run neither; Ray reads the variable when it starts a cluster.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise BenchError(
            f"hydra/launcher=ray needs {error.name}, which is not installed. "
            "Install it with: python -m pip install 'optimized-embedding-loader[fleet]'"
        ) from None
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BenchError(f"No Ray cluster at {address or 'the default address'}: {_brief(error)}") from error
    return ray


def _begin(actor: Any, job: Job) -> Any:
    return actor.run.remote(job.request())


def _end(ray: Any, actors: Sequence[Any]) -> None:
    """End the jobs that still run: ask them first, so that they leave no files, then kill their actors."""
    if actors:
        ray.wait([actor.stop.remote() for actor in actors], num_returns=len(actors), timeout=GRACE_S)
    for actor in actors:
        ray.kill(actor)


def _await_one(ray: Any, tickets: Sequence[Any]) -> tuple[Any, Answer | HostLost]:
    (ticket, *_), _ = ray.wait(list(tickets), num_returns=1)
    try:
        return ticket, to_answer(ray.get(ticket))
    except ray.exceptions.RayTaskError as error:
        return ticket, Answer("failed", _brief(error.cause))
    except ray.exceptions.RayError as error:
        return ticket, HostLost(_brief(error))


def _brief(error: BaseException) -> str:
    """Return the end of an error's message, where the reason is."""
    text = " ".join(f"{type(error).__name__}: {_COLOURS.sub('', str(error))}".split())
    return text if len(text) <= MESSAGE_CHARACTERS else f"... {text[-MESSAGE_CHARACTERS:]}"


_COLOURS = re.compile("\x1b\\[[0-9;]*m")
