"""For users of pytest-benchmark: the fixture ``cold_start``, which times whole, fresh processes.

Enable it with ``pytest_plugins = ["bench.pytest_plugin"]`` in the root's ``conftest.py``; installing the package does
not register it. Importing it imports little: the first benchmark imports what measures.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.data.records import Record
    from bench.measure.process import Outcome
    from bench.measure.sampler import Sampler
    from bench.plan.cell import Cell
    from bench.plan.config import BenchConf
    from bench.plan.plan import Slot

EXTRA_INFO = ("init_ms", "ready_ms", "first_embedding_ms", "total_ms", "results_ms", "peak_mib", "together_mib")
"""Metrics whose medians go into a benchmark's ``extra_info``, if its processes have them."""

FOR_A_BENCHMARK = ("machine_lock", "pass_variables", "protocol.sample_timeout_s")
"""Settings of a whole run that also apply to a single benchmark."""

COMMAND_TIMEOUT_S = 60.0


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture ``benchmark`` that is used here."""

    extra_info: dict[str, Any]

    @property
    def enabled(self) -> bool:
        """False with ``--benchmark-disable``: the target then runs once."""

    def pedantic(
        self, target: Callable[[], None], *, teardown: Callable[[], None], rounds: int, warmup_rounds: int
    ) -> object:
        """Call the target, timed, and the teardown, untimed, this many times."""


def pytest_configure(config: pytest.Config) -> None:
    """Provide the fixture, or one that reports what is missing."""
    is_there = hasattr(config.option, "benchmark_disable")  # an option of pytest-benchmark, however it was loaded
    config.pluginmanager.register(_Offered() if is_there else _Missing(), "bench-cold-start")


@pytest.fixture(scope="session")
def _cold_start_session() -> Iterator[_Session]:
    with tempfile.TemporaryDirectory(prefix="bench-pytest-", ignore_cleanup_errors=True) as folder:
        yield _Session(Path(folder))


class _Offered:
    @pytest.fixture
    def cold_start(self, benchmark: Benchmark, _cold_start_session: _Session, pytestconfig: pytest.Config) -> ColdStart:
        """Time fresh processes that load a model or, with cold_start.command, run any program; see ColdStart."""

        def say(text: str) -> None:
            capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
            with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
                sys.stderr.write(f"\n{text}\n")

        return ColdStart(benchmark, _cold_start_session, say)


class _Missing:
    @pytest.fixture
    def cold_start(self) -> None:
        """Time fresh processes; needs pytest-benchmark, which is not active."""
        pytest.fail(
            "cold_start needs the plugin pytest-benchmark, which is not installed or not active. "
            "Install it with: python -m pip install 'optimized-embedding-loader[bench]'",
            pytrace=False,
        )


class _NotMeasured(Exception):  # noqa: N818 - a sample's outcome; pytest-benchmark must see an Exception
    def __init__(self, record: Record) -> None:
        where = "the warm-up" if record.is_warmup else "a round"
        said = f"\n{record.stderr_tail.rstrip()}" if record.stderr_tail.strip() else ""
        super().__init__(f"{record.cell.label()}: {record.status} in {where}: {record.message}{said}")
        self.is_unsupported = record.status == "unsupported"


@dataclass
class _Session:
    """What the benchmarks of a test session share: prepared models and the loader's private cache.

    Attributes:
        folder: where all of it goes; removed at the end.
    """

    folder: Path
    _prepared: dict[tuple[str, ...], dict[str, dict[str, Any]]] = field(default_factory=dict)
    _beat_iterations: int = 0

    def sampler(self, conf: BenchConf, cell: Cell) -> Sampler:
        """Return what takes samples of a cell; its model is prepared once for all cells with the same needs."""
        from bench.measure.run import needs, prepare_models
        from bench.measure.sampler import Sampler, beat_iterations
        from bench.measure.variables import temporary_variables, worker_environment

        environ = worker_environment(self.folder / "cache", conf.pass_variables)
        environ |= temporary_variables(self.folder / "tmp")
        key = (cell.model, cell.scenario, *needs([cell], self.folder))
        scratch = self.folder / f"prepared-{len(self._prepared)}"
        if key not in self._prepared:
            self._prepared[key] = prepare_models([cell], environ, scratch, None, quiet=True)
        self._beat_iterations = self._beat_iterations or beat_iterations()
        timeout_s = conf.protocol.sample_timeout_s
        return Sampler(environ, self._prepared[key], scratch, scratch, timeout_s, self._beat_iterations)


class ColdStart:
    """Times fresh processes with pytest-benchmark: one process per round, from spawn to exit.

    Like ``benchmark`` itself, it measures one thing in each test.
    """

    def __init__(self, benchmark: Benchmark, session: _Session, say: Callable[[str], None]) -> None:
        self._benchmark = benchmark
        self._session = session
        self._say = say

    def __call__(self, *words: str, rounds: int = 10, warmup_rounds: int = 1) -> list[Record]:
        """Time one cell, without a reference; the words are options of ``python -m bench``.

        The test fails if a process fails, and is skipped if this machine cannot run the cell.

        Args:
            words: options such as ``"strategy=progressive"``, ``"model=minilm"``.
            rounds: the number of timed processes; only one with ``--benchmark-disable``.
            warmup_rounds: the number of untimed processes before.

        Returns:
            the records of the timed processes, see ``bench.data.records``.
        """

        def measure() -> list[Record]:
            conf, cell = compose_benchmark(words)
            with self._alone(conf.machine_lock):
                sampler = self._session.sampler(conf, cell)
                return self._rounds(cell, sampler, rounds, warmup_rounds)

        return _or_fail(measure)

    def command(
        self,
        command: str | Sequence[str],
        *,
        rounds: int = 10,
        warmup_rounds: int = 1,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> list[Record]:
        """Time any program. The test fails if its exit code is not 0.

        It gets the test's environment and an empty standard input; its output is read and discarded.

        Args:
            command: one string with words quoted as for a shell, or a sequence of words; no shell is involved.
            rounds: the number of timed processes; only one with ``--benchmark-disable``.
            warmup_rounds: the number of untimed processes before.
            timeout_s: a process that takes longer is killed, and the test fails.

        Returns:
            the records of the timed processes; their only marks are ``results``, the first output, and ``exit``.
        """

        def measure() -> list[Record]:
            from bench.measure.scenarios.user_command import command_cell, run_user_command, split_command

            def run(_slot: Slot) -> Outcome:
                return run_user_command(path, words[1:], environ, timeout_s)

            words = split_command(command)
            path, environ = _path_of(words[0]), dict(os.environ)
            with self._alone(None):
                return self._rounds(command_cell(words), run, rounds, warmup_rounds)

        return _or_fail(measure)

    def _rounds(self, cell: Cell, execute: Callable[[Slot], Outcome], rounds: int, warmup_rounds: int) -> list[Record]:
        from bench.data.fidelity import judge
        from bench.measure.runner import to_record
        from bench.plan.plan import Slot

        warmups = warmup_rounds if self._benchmark.enabled else 0
        ended: list[tuple[Slot, Outcome]] = []
        records: list[Record] = []

        def sample() -> None:
            slot = Slot(cell, len(ended), is_warmup=len(ended) < warmups)
            ended.append((slot, execute(slot)))

        def check() -> None:
            for slot, outcome in ended[len(records) :]:
                records.append(judge(to_record(slot, outcome), None))
                if records[-1].status != "ok":
                    raise _NotMeasured(records[-1])

        self._benchmark.pedantic(sample, teardown=check, rounds=rounds, warmup_rounds=warmup_rounds)
        check()  # pytest-benchmark skips the teardown when it is disabled
        counted = [record for record in records if not record.is_warmup]
        self._benchmark.extra_info.update({"cell": cell.label(), **medians(counted)})
        return counted

    @contextlib.contextmanager
    def _alone(self, lock: str | None) -> Iterator[None]:
        """Keep other benches on this machine waiting while something is timed."""
        from bench.measure.lock import machine_lock

        with machine_lock(lock, self._say) if self._benchmark.enabled else contextlib.nullcontext():
            yield


def medians(records: Sequence[Record]) -> dict[str, float]:
    """Return the medians of ``EXTRA_INFO``, in each metric's unit; without those that no record has."""
    from bench.data.metrics import METRICS_BY_KEY

    found = {}
    for key in EXTRA_INFO:
        values = [value for record in records if (value := METRICS_BY_KEY[key].value(record)) is not None]
        if values:
            found[key] = round(statistics.median(values), 3)
    return found


def compose_benchmark(words: Sequence[str]) -> tuple[BenchConf, Cell]:
    """Return the configuration for these words, and its one cell.

    Raises:
        ConfigError: they are not a valid configuration, or not one that can be timed here.
    """
    from bench.errors import ConfigError
    from bench.plan.cell import WARM
    from bench.plan.config import compose
    from bench.plan.plan import OF_THE_RUN, make_plan

    for word in words:
        name = word.lstrip("+~").partition("=")[0]
        if name not in FOR_A_BENCHMARK and name.replace("/", ".").partition(".")[0] in {*OF_THE_RUN, "hydra"}:
            raise ConfigError(
                f"{word} applies to a run of python -m bench, not to a single benchmark. Leave it out; to set how "
                "often to measure, use rounds= and warmup_rounds= of cold_start()"
            )
    conf = compose([*words, "baseline=false", "run_name=pytest"])
    (cell,) = make_plan([conf]).cells
    if cell.cache_state != WARM:
        raise ConfigError(
            f"cache_state={cell.cache_state} cannot be timed by pytest-benchmark, whose times would include setting "
            "up that state. Use python -m bench for it"
        )
    return conf, cell


def _path_of(program: str) -> str:
    from bench.errors import ConfigError

    path = shutil.which(program)
    if path is None:
        raise ConfigError(f"{program} is not on the PATH, or is not a program. Install it, or give its full path")
    return path


def _or_fail(measure: Callable[[], list[Record]]) -> list[Record]:
    """Return the records, or end the test with a message and no traceback, because the test's code is not at fault."""
    from bench.errors import BenchError

    try:
        return measure()
    except _NotMeasured as error:
        message, is_skip = str(error), error.is_unsupported
    except BenchError as error:
        message, is_skip = str(error), False
    if is_skip:
        pytest.skip(message)
    pytest.fail(message, pytrace=False)
