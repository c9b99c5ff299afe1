"""The model service next to a sample: running for ``service``, guaranteed not to run for ``service_cold``.

Each sample has its own service, or none, with sockets in a separate folder: a service that kept running would hold the
weights in memory that other cells evict, and a user's own service must not interfere. It is started before the noise
readings begin, and has ended before the next sample begins.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.measure.process import run_python
from bench.measure.service_process import cpu_s, find_service, memory_of, private_runtime, stop_service
from bench.measure.variables import RUNTIME
from bench.measure.worker import proportional_memory
from bench.plan.cell import MEANINGS, SERVICE, WARM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.measure.process import Outcome
    from bench.plan.cell import Cell

ASK_S = 30.0
"""Time limit of the command that asks a service what it did."""


@dataclass
class Beside:
    """The service of one sample.

    Attributes:
        variables: what the sample's processes need besides the run's variables.
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
        """Return the service's processor seconds since then; all of them if the sample started it."""
        if self._runtime is None:
            return 0.0
        self._process = self._process or find_service(self._runtime)
        return max((cpu_s(self._process) or 0.0) - self._before_s, 0.0)

    def told(self, outcome: Outcome, environ: Mapping[str, str], python: str) -> Outcome:
        """Return the outcome with what is known about the service: who answered a program, and memory as a fact."""
        answer = outcome.answer
        if self._runtime is None or answer is None or answer["status"] != "ok":
            return outcome
        facts: dict[str, Any] = dict(answer["facts"])
        if "answered_by" not in facts:  # a program does not report it
            requests = _requests(environ, python)
            facts["answered_by"] = "service" if requests else "process"
        if self.problem:
            facts["service_problem"] = self.problem
        memory = memory_of(self._process) if self._process else {}
        if memory:
            facts["service_memory"] = memory
        return replace(outcome, answer={**answer, "facts": facts, "memory": self._together(answer["memory"])})

    def _together(self, memory: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
        """Return the memory; if the sample has several processes, that of all together, because it is one of them."""
        own = proportional_memory(str(self._process.pid)) if self._process else {}
        if "together" not in memory or not own:
            return dict(memory)
        together = {**memory["together"], "pss_bytes": memory["together"]["pss_bytes"] + own["pss_bytes"]}
        return {**memory, "together": together}


def refusal(cell: Cell) -> str:
    """Return why a cell cannot be measured, or "". Call it before anything runs for the cell."""
    if cell.strategy in MEANINGS and cell.cache_state != WARM:
        return "a service keeps in memory what must be evicted, and has its own cache: use cache_state=warm"
    return ""


@contextmanager
def beside(cell: Cell, options: Mapping[str, str], environ: Mapping[str, str], python: str) -> Iterator[Beside]:
    """Run a service as long as the context lasts, if the cell needs one.

    If it cannot be started, the sample is still taken: it runs into the same problem and reports it.

    Args:
        cell: the sample's cell.
        options: the worker's options for the cell, see ``bench.measure.sampler.worker_options``.
        environ: environment of the sample's processes.
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
"""Time limit for a service to be ready."""
REST_S = 0.1
"""A service that used no processor time for this long is idle; that time is counted in ticks of 10 ms."""
REST_WITHIN_S = 3.0
"""Longest wait for that."""


def _start(cell: Cell, options: Mapping[str, str], environ: Mapping[str, str], python: str) -> str:
    """Start the service that the sample will use; return why there is none, or ""."""
    words = ["-P", "-m", "loader", "serve", "--detach", f"--engine={options['engine']}"]
    if cell.scenario == "search_command":
        # The program has options for neither device nor threads, see ``bench.measure.scenarios.search_command``.
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
    """Wait until the service is idle: a service that callers find running has long finished starting."""
    process, deadline_s, before_s = find_service(runtime), time.monotonic() + REST_WITHIN_S, -1.0
    while (now_s := cpu_s(process)) is not None and now_s != before_s and time.monotonic() < deadline_s:
        before_s = now_s
        time.sleep(REST_S)


def _requests(environ: Mapping[str, str], python: str) -> int:
    """Return how many requests the services of a folder have accepted; 0 if none reports any."""
    lines = run_python(["-P", "-m", "loader", "status", "--json"], environ, ASK_S, python=python).output.splitlines()
    reports = [json.loads(line) for line in lines if line.startswith(b"{")]
    return sum(int(report.get("counters", {}).get("requests", 0)) for report in reports)
