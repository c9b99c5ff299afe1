"""The model service beside a sample: running for ``service``, surely not for ``service_cold``.

Each sample has a service, or none, of its own, with its sockets in a folder of its own: one that stayed would keep the
weights in memory that other cells evict, and a user's own service must have no part in it. It is started before the
machine is looked at, and has ended before the next sample begins.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.load.server import cpu_s, find_service, memory_of, private_runtime, stop_service
from bench.plan import WARM
from bench.process import run_python
from bench.variables import RUNTIME
from bench.worker import proportional_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.plan import Cell
    from bench.process import Outcome

SERVICE = "service"
SERVICE_COLD = "service_cold"
MEANINGS = {
    SERVICE: "a process that keeps the model loaded answers: what every call but the first one costs. The service is "
    "started before the sample, and its memory comes on top",
    SERVICE_COLD: "the first call of all: no service runs, the process computes by itself and then starts one for the "
    "next caller",
}
"""What the two are, in words. Neither is chosen from: the service's own memory is in no column."""
ANSWERED_BY = {SERVICE: "service", SERVICE_COLD: "process"}
"""Who has to compute, or the sample is not of its cell."""

ASK_S = 30.0
"""For the command that asks a service what it did."""


@dataclass
class Beside:
    """The service of one sample.

    Attributes:
        variables: that the sample's processes need besides those of the run.
        problem: why no service could be started, or "".
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    _runtime: Path | None = None
    _process: psutil.Process | None = None
    _before_s: float = 0.0

    def look(self) -> None:
        """Note what the service has used so far, right before the sample."""
        if self._runtime is not None:
            self._process = find_service(self._runtime)
            self._before_s = cpu_s(self._process) or 0.0

    def used_cpu_s(self) -> float:
        """Return the processor seconds of the service since then; one that the sample has started counts wholly."""
        if self._runtime is None:
            return 0.0
        self._process = self._process or find_service(self._runtime)
        return max((cpu_s(self._process) or 0.0) - self._before_s, 0.0)

    def told(self, outcome: Outcome, environ: Mapping[str, str], python: str) -> Outcome:
        """Return the outcome with what is known of the service: who answered a program, and memory as a fact."""
        answer = outcome.answer
        if self._runtime is None or answer is None or answer["status"] != "ok":
            return outcome
        facts: dict[str, Any] = dict(answer["facts"])
        if "answered_by" not in facts:  # a program does not say
            requests = _requests(environ, python)
            facts["answered_by"] = "service" if requests else "process"
        if self.problem:
            facts["service_problem"] = self.problem
        memory = memory_of(self._process) if self._process else {}
        if memory:
            facts["service_memory"] = memory
        return replace(outcome, answer={**answer, "facts": facts, "memory": self._together(answer["memory"])})

    def _together(self, memory: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
        """Return the memory, of all processes of the sample together where there are several: it is one of them."""
        own = proportional_memory(str(self._process.pid)) if self._process else {}
        if "together" not in memory or not own:
            return dict(memory)
        together = {**memory["together"], "pss_bytes": memory["together"]["pss_bytes"] + own["pss_bytes"]}
        return {**memory, "together": together}


def strategy_of(cell: Cell) -> str:
    """Return the loader's name of a cell's strategy."""
    return SERVICE if cell.strategy == SERVICE_COLD else cell.strategy


def refusal(cell: Cell) -> str:
    """Return why there can be no sample of a cell, or "". Ask before anything is run for it."""
    if cell.strategy in MEANINGS and cell.cache_state != WARM:
        return "a service keeps in memory what is to be evicted, and has a cache of its own: use cache_state=warm"
    return ""


@contextmanager
def beside(cell: Cell, options: Mapping[str, str], environ: Mapping[str, str], python: str) -> Iterator[Beside]:
    """Have a service run as long as the context lasts, if the cell is about one.

    Where none can be started the sample is taken all the same: what is wrong is wrong there too, and said by it.

    Args:
        cell: of the sample.
        options: what the worker is told about the cell, see ``bench.sampler.worker_options``.
        environ: of the sample's processes.
        python: their interpreter.
    """
    if cell.strategy not in MEANINGS:
        yield Beside()
        return
    with private_runtime() as runtime:
        variables = {RUNTIME: str(runtime)}
        whole = {**environ, **variables}
        try:
            problem = _start(cell, options, whole, python) if cell.strategy == SERVICE else ""
            found = Beside(variables, problem, runtime)
            found.look()
            yield found
        finally:
            stop_service(runtime, whole, python)


START_S = 600.0
"""For a service to be ready."""
REST_S = 0.1
"""A service that has taken no processor time for so long is at rest; the clock of that time ticks every 10 ms."""
REST_WITHIN_S = 3.0
"""Longest wait for that."""


def _start(cell: Cell, options: Mapping[str, str], environ: Mapping[str, str], python: str) -> str:
    """Start the service that the sample will look for; return why there is none, or ""."""
    words = ["-P", "-m", "loader", "serve", "--detach", f"--engine={options['engine']}"]
    if cell.scenario == "search_command":
        # The program has options for neither device nor threads, see ``bench.command``.
        words += [f"--model={options['reference_model']}"]
        environ = {**environ, "CUDA_VISIBLE_DEVICES": ""} if cell.device == "cpu" else environ
    else:
        words += [f"--model={options['model']}"]
        words += [f"--device={options['device']}"] if options["device"] != "auto" else []
        words += [f"--threads={options['threads']}"] if options["threads"] else []
    started = run_python(words, environ, START_S, python=python)
    if started.exit_code == 0:
        _wait_for_rest(Path(environ[RUNTIME]))
        return ""
    lines = [line for line in started.stderr_tail.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "it said nothing")


def _wait_for_rest(runtime: Path) -> None:
    """Wait until the service does nothing any more: one that callers find running has long been through its start."""
    process, deadline_s, before_s = find_service(runtime), time.monotonic() + REST_WITHIN_S, -1.0
    while (now_s := cpu_s(process)) is not None and now_s != before_s and time.monotonic() < deadline_s:
        before_s = now_s
        time.sleep(REST_S)


def _requests(environ: Mapping[str, str], python: str) -> int:
    """Return how many requests the services of a folder have accepted; 0 where none says so."""
    lines = run_python(["-P", "-m", "loader", "status", "--json"], environ, ASK_S, python=python).output.splitlines()
    reports = [json.loads(line) for line in lines if line.startswith(b"{")]
    return sum(int(report.get("counters", {}).get("requests", 0)) for report in reports)
