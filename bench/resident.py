"""The model service beside a sample: running for ``service``, surely not for ``service_cold``.

Each sample has a service, or none, of its own, with its sockets in a folder of its own: a service that stayed would
    keep
the weights in memory that other cells evict, and a user's own service must have no part in it. It is started before the
machine is looked at, and has ended before the next sample begins.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.load.server import RUNTIME, private_runtime, stop_service
from bench.plan import WARM
from bench.process import run_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.plan import Cell

SERVICE = "service"
SERVICE_COLD = "service_cold"
MEANINGS = {
    SERVICE: "a process that keeps the model loaded answers: what every call but the first one costs. The service is "
    "started before the sample, and its memory comes on top",
    SERVICE_COLD: "the first call of all: no service runs, the process computes by itself and meanwhile starts one for "
    "the next caller",
}
"""What the two are, in words. Neither is recommended: the service's own memory is in no column."""
ANSWERED_BY = {SERVICE: "service", SERVICE_COLD: "process"}
"""Who has to compute, or the sample is not of its cell."""


@dataclass(frozen=True)
class Beside:
    """What a sample is to know.

    Attributes:
        variables: that its processes need besides those of the run.
        impossible: why there can be no sample, or "".
    """

    variables: Mapping[str, str]
    impossible: str = ""


def strategy_of(cell: Cell) -> str:
    """Return the loader's name of a cell's strategy."""
    return SERVICE if cell.strategy == SERVICE_COLD else cell.strategy


@contextmanager
def beside(cell: Cell, environ: Mapping[str, str], timeout_s: float, python: str) -> Iterator[Beside]:
    """Have a service run as long as the context lasts, if the cell is about one."""
    if cell.strategy not in MEANINGS:
        yield Beside({})
        return
    if cell.cache_state != WARM:
        yield Beside({}, "a service keeps in memory what is to be evicted, and has a cache of its own")
        return
    with private_runtime() as runtime:
        variables = {RUNTIME: str(runtime)}
        whole = {**environ, **variables}
        try:
            yield Beside(variables, _start(cell, whole, timeout_s, python) if cell.strategy == SERVICE else "")
        finally:
            stop_service(runtime, whole)


def _start(cell: Cell, environ: Mapping[str, str], timeout_s: float, python: str) -> str:
    """Start a service; return why there is none, or ""."""
    words = ["-m", "loader", "serve", "--detach", f"--model={cell.model}", f"--engine={cell.engine}"]
    words += [f"--device={cell.device}"] if cell.device != "auto" else []
    words += [f"--threads={cell.threads}"] if cell.threads is not None else []
    started = run_python(words, environ, timeout_s, python=python)
    last = started.stderr_tail.strip().rpartition("\n")[2]
    return "" if started.exit_code == 0 else f"no service: {last}"
