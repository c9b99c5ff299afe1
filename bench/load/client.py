"""One client process: ``python -m bench.load.client TASK``, where TASK is a JSON file that ``bench.load.drive`` wrote.

It opens its clients, makes one request with each, reports that it is ready, reads from standard input when to begin,
makes its requests, and writes their outcomes. Its answers are lines like those of ``bench.measure.worker``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.load.arrivals import poisson_arrivals_ns, text_order
from bench.load.checking import DTYPE, References, far_apart
from bench.load.loops import Loop
from bench.load.targets import find_target
from bench.measure.worker import ANSWER_PREFIX

if TYPE_CHECKING:
    from bench.load.observations import Observations
    from bench.load.targets import Target

BATCH_SIZE = 32

SWITCH_INTERVAL_S = 0.0005
"""The interpreter's switch interval, instead of 0.005: a client whose request is due, or whose answer has arrived,
waits less for the others."""


@dataclass(frozen=True)
class ClientTask:
    """What one client process does.

    Attributes:
        mode: ``prepare`` (make the references), ``closed``, ``open`` or ``batch``.
        target: ``module:class``, see ``bench.load.targets``.
        model, engine: the target's.
        texts: JSON list of texts.
        references: file to read the references from, or to write them to.
        output: file for the observations.
        clients: clients of this process.
        requests: requests of all processes; not for an open loop.
        part, parts: which of how many client processes this is: each has every parts-th request.
        rate_per_s, seconds: an open loop's, for all processes.
        seed: seed of arrivals and of the order of texts.
        patience_s: how long to wait for one answer.
    """

    mode: str
    target: str
    model: str
    engine: str
    texts: str
    references: str
    output: str = ""
    clients: int = 1
    requests: int = 0
    part: int = 0
    parts: int = 1
    rate_per_s: float = 0.0
    seconds: float = 0.0
    seed: int = 0
    patience_s: float = 30.0


def main() -> None:
    """Do the task."""
    task = ClientTask(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    if task.mode == "prepare":
        _say(_prepare(task))
        return
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    loop, found = _measure(task)
    found.write(Path(task.output))
    _say({"cpu_s": time.process_time(), "messages": loop.messages.most_common(5)})
    # Threads may still wait for an answer; an ordinary exit would tear down what they use.
    os._exit(0)


def _prepare(task: ClientTask) -> dict[str, Any]:
    """Write the references, and the texts whose vectors tell them apart."""
    texts = json.loads(Path(task.texts).read_text(encoding="utf-8"))
    target = find_target(task.target)(task.model, task.engine)
    embed, embed_batch = target.open(), target.open_batch()
    queries = _rows([embed(text) for text in texts])
    documents = _rows([answer for text in texts for answer in embed_batch([text])])
    kept = far_apart(queries) & far_apart(documents)
    with Path(task.references).open("wb") as file:
        np.savez(file, query=queries[kept], document=documents[kept])
    told_apart = [text for text, keep in zip(texts, kept, strict=True) if keep]
    Path(task.texts).write_text(json.dumps(told_apart), encoding="utf-8")
    return {"texts": len(told_apart), "dimension": queries.shape[1], "facts": target.facts()}


def _rows(answers: list[bytes]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(b"".join(answers), DTYPE).reshape(len(answers), -1)


def _measure(task: ClientTask) -> tuple[Loop, Observations]:
    texts = json.loads(Path(task.texts).read_text(encoding="utf-8"))
    target = find_target(task.target)(task.model, task.engine)
    mine = slice(task.part, None, task.parts)
    due_ns = None
    if task.mode == "open":
        due_ns = poisson_arrivals_ns(task.rate_per_s, task.seconds, task.seed)
    requests = task.requests if due_ns is None else len(due_ns)
    order = text_order(requests, len(texts), task.seed)[mine]
    kind = "document" if task.mode == "batch" else "query"
    loop = Loop(texts, order, References.read(Path(task.references), kind), None if due_ns is None else due_ns[mine])
    if task.mode == "batch":
        embed_batch = target.open_batch()
        embed_batch(texts[:BATCH_SIZE])
        return loop, loop.run_batches(embed_batch, BATCH_SIZE, _wait_for_go(target), task.patience_s)
    clients = [target.open() for _ in range(task.clients)]
    for number, embed in enumerate(clients):
        embed(texts[number % len(texts)])
    return loop, loop.run(clients, _wait_for_go(target), task.patience_s)


def _wait_for_go(target: Target) -> int:
    """Report that this process is ready, and return when to begin, by ``time.perf_counter_ns()``."""
    _say({"facts": target.facts(), "cpu_s": time.process_time()})
    return int(sys.stdin.readline())


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(b"\n" + ANSWER_PREFIX + json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
