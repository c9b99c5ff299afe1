"""A load test: references, the service, rounds of phases in random order, a record of each."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.data.folder import MANIFEST_FILE, new_folder
from bench.data.manifest import Manifest, write_manifest
from bench.data.records import append_record
from bench.errors import BenchError
from bench.load.client import ClientTask
from bench.load.drive import make_references, run_clients
from bench.load.options import IN_PROCESS
from bench.load.records import MEMORY_FILE, PHASES_FILE, RAW, Phase
from bench.load.summary import answers_per_s
from bench.load.targets import IN_PROCESS as LOCAL
from bench.load.targets import SERVICE
from bench.measure.lock import machine_lock
from bench.measure.machine import describe_environment, processors_usable
from bench.measure.process import wall_clock
from bench.measure.revision import describe_revision
from bench.measure.service_process import MemorySampler, cpu_s, find_service, private_runtime, stop_service
from bench.measure.variables import RUNTIME, temporary_variables, worker_environment
from bench.quality.retrieval import short_sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import psutil

    from bench.load.drive import Gathered
    from bench.load.options import LoadTestOptions

T = TypeVar("T")


@dataclass(frozen=True)
class Targets:
    """Who answers, as ``module:class``."""

    service: str = SERVICE
    in_process: str = LOCAL


@dataclass
class Bench:
    """A run in progress.

    Attributes:
        options: what is measured.
        targets: who answers.
        folder: the records' folder.
        private: folder for files that are not needed afterwards.
        environ: the client processes' environment.
        say: is told what has been measured.
        service: the service's process, if there is one.
        phases: the completed phases.
    """

    options: LoadTestOptions
    targets: Targets
    folder: Path
    private: Path
    environ: Mapping[str, str]
    say: Callable[[str], None]
    service: psutil.Process | None = None
    phases: list[Phase] = field(default_factory=list)


def run_load(
    options: LoadTestOptions,
    folder: Path,
    say: Callable[[str], None],
    *,
    command: str = "",
    lock: str | None = None,
    targets: Targets = Targets(),
) -> list[Phase]:
    """Measure, and leave records and manifest in the folder.

    Args:
        options: what is measured.
        folder: where to write; must not hold a run.
        say: is told what happens, a line at a time.
        command: the command that repeats the run, for the manifest.
        lock: the machine lock's file; None for the default.
        targets: who answers.

    Returns:
        all phases, in the order they were measured.

    Raises:
        BenchError: the folder is taken, the references cannot be made, or the service does not start.
    """
    new_folder(folder)
    with ExitStack() as stack:
        stack.enter_context(machine_lock(lock, say))
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-load-")))
        runtime = stack.enter_context(private_runtime())
        environ = worker_environment(private / "cache") | temporary_variables(private / "tmp")
        environ[RUNTIME] = str(runtime)
        bench = Bench(options, targets, folder, private, environ, say)
        _prepare(bench, command)
        if {"closed", "open"} & set(options.phases):
            stack.enter_context(_service(bench, runtime))
        _rounds(bench)
    return bench.phases


def _prepare(bench: Bench, command: str) -> None:
    options = bench.options
    bench.say("making the reference vectors")
    (bench.private / "texts.json").write_text(json.dumps(short_sentences(options.texts)), encoding="utf-8")
    made = make_references(
        _task(bench, "prepare", bench.targets.in_process), bench.environ, bench.private, options.timeout_s
    )
    environment = describe_environment()
    manifest = Manifest(
        kind="load",
        command=command,
        started_at=wall_clock(),
        run=bench.folder.name,
        machine=environment.fingerprint,
        environments={environment.fingerprint: environment},
        revision=describe_revision(),
        options=asdict(options),
        reference=made,
        rest={"revision": None},
    )
    (bench.folder / RAW).mkdir(exist_ok=True)
    write_manifest(bench.folder / MANIFEST_FILE, manifest)


@contextmanager
def _service(bench: Bench, runtime: Path) -> Iterator[None]:
    """Start the service as its first client does, watch its memory, and always stop it."""
    try:
        bench.say("starting the service")
        first = ClientTask(**{**asdict(_task(bench, "closed", bench.targets.service)), "requests": 1})
        started = run_clients([first], bench.environ, bench.private, bench.options.timeout_s)
        if started.message:
            raise BenchError(f"The service cannot be reached: {started.message}")
        bench.service = find_service(runtime)
        with MemorySampler(bench.service, bench.folder / MEMORY_FILE):
            yield
    finally:
        problem = stop_service(runtime, bench.environ)
        if problem:
            bench.say(f"warning: {problem}")


def _rounds(bench: Bench) -> None:
    order = random.Random(bench.options.seed)  # noqa: S311 - repeatability is the point
    closed: list[float] = []
    for number in range(bench.options.rounds):
        for name in _shuffled(order, [name for name in bench.options.phases if name != "open"]):
            rate = _measure(bench, name, number)
            closed += [rate] if name == "closed" and rate else []
    if "open" not in bench.options.phases:
        return
    capacity = statistics.median(closed) if closed else None
    for number in range(bench.options.rounds):
        for offered in _shuffled(order, list(bench.options.offered)):
            if bench.options.rates:
                _measure(bench, "open", number, offered)
            elif capacity:
                _measure(bench, "open", number, offered * capacity, offered)


def _measure(
    bench: Bench, name: str, number: int, offered_per_s: float | None = None, fraction: float | None = None
) -> float | None:
    """Measure one phase, write its record, and return its right answers per second."""
    tasks = _tasks(bench, name, number, offered_per_s)
    started_at, before_s = wall_clock(), cpu_s(bench.service)
    gathered = run_clients(tasks, bench.environ, bench.private, bench.options.timeout_s)
    after_s = cpu_s(bench.service)
    is_service = name not in IN_PROCESS
    phase = Phase(
        name,
        number,
        "failed" if gathered.message else "ok",
        gathered.message,
        started_at,
        sum(task.clients for task in tasks),
        offered_per_s,
        fraction,
        bench.options.seconds if name == "open" else None,
        gathered.begin_ns,
        gathered.observations.counts,
        gathered.messages,
        gathered.cpu_s,
        after_s - before_s if is_service and before_s is not None and after_s is not None else None,
        gathered.facts,
        f"{len(bench.phases):03d}-{name}.npz",
    )
    gathered.observations.write(bench.folder / RAW / phase.raw)
    append_record(bench.folder / PHASES_FILE, phase)
    bench.phases.append(phase)
    return _tell(bench, phase, gathered)


def _tell(bench: Bench, phase: Phase, gathered: Gathered) -> float | None:
    label = phase.name if phase.offered_per_s is None else f"{phase.name} at {phase.offered_per_s:,.1f}/s"
    label = f"round {phase.round + 1} of {bench.options.rounds}, {label}"
    rate = answers_per_s(gathered.observations)
    if phase.message or rate is None:
        bench.say(f"{label}: {phase.message or 'no right answer'}")
        return None
    trouble = f", {phase.bad} without the right vector" if phase.bad else ""
    bench.say(f"{label}: {rate:,.1f} right answers/s{trouble}")
    return rate


def _tasks(bench: Bench, name: str, number: int, offered_per_s: float | None) -> list[ClientTask]:
    options = bench.options
    # Each phase has its own arrivals and texts, and a second run with the same seed has the same.
    seed = random.Random(f"{options.seed} {name} {number} {offered_per_s}").getrandbits(32)  # noqa: S311
    if name in IN_PROCESS:
        make = partial(_task, bench, "batch" if name == "batch" else "closed", bench.targets.in_process, seed=seed)
        clients = processors_usable() if name == "threads" else 1
        return [make(clients=clients, requests=options.in_process_requests)]
    make = partial(_task, bench, name, bench.targets.service, seed=seed, parts=options.processes)
    return [
        make(
            part=part,
            clients=len(range(part, options.clients, options.processes)),
            requests=options.requests,
            rate_per_s=offered_per_s or 0.0,
            seconds=options.seconds,
        )
        for part in range(options.processes)
    ]


def _task(bench: Bench, mode: str, target: str, *, part: int = 0, **more: float) -> ClientTask:
    private, options = bench.private, bench.options
    return ClientTask(
        mode,
        target,
        options.model,
        options.engine,
        texts=str(private / "texts.json"),
        references=str(private / "references.npz"),
        output=str(private / f"part-{part}.npz"),
        part=part,
        patience_s=options.patience_s,
        **more,  # type: ignore[arg-type]
    )


def _shuffled(order: random.Random, things: list[T]) -> list[T]:
    return order.sample(things, len(things))
