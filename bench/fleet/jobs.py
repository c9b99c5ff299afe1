"""Which cells go to one host together, and what a job returns."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plan.config import to_plain
from bench.plan.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Protocol

    from bench.plan.cell import Cell
    from bench.plan.config import BenchConf

    class Backend(Protocol):
        """Runs jobs on hosts."""

        def run(self, jobs: Sequence[Job], folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Job, Answer]]:
            """Yield each job with its answer, in the order in which they end.

            Args:
                jobs: the jobs to run.
                folder: the whole run's folder, which exists.
                say: is told what happens to jobs and hosts.

            Raises:
                BenchError: there are no hosts.
            """


@dataclass(frozen=True)
class Job:
    """What one host measures as one run.

    Attributes:
        name: name of its folder, below that of the whole run.
        configs: its cells' configurations.
    """

    name: str
    configs: tuple[BenchConf, ...]

    @property
    def folder(self) -> Path:
        """Where its records and its manifest go."""
        return Path(self.configs[0].reports_dir) / self.configs[0].run_name

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What it measures, including the references."""
        return make_plan(self.configs).cells

    def request(self) -> dict[str, Any]:
        """Return the request for ``bench.measure.job``."""
        return {
            "configs": [to_plain(conf) for conf in self.configs],
            "arguments": sys.argv[1:],
            "end_with_stdin": True,
        }


@dataclass(frozen=True)
class Answer:
    """The result of a job.

    Attributes:
        status: ``ok``, ``interrupted`` or ``failed``.
        message: why it is not ``ok``.
        records: text of the file of records, "" if there is none.
        manifest: text of the manifest, "" if there is none.
    """

    status: str
    message: str = ""
    records: str = field(default="", repr=False)
    manifest: str = field(default="", repr=False)


def to_answer(said: Mapping[str, Any]) -> Answer:
    """Return the answer that ``bench.measure.job`` gave."""
    return Answer(**{name: str(said.get(name, "")) for name in ("status", "message", "records", "manifest")})


def group(configs: Sequence[BenchConf]) -> list[list[BenchConf]]:
    """Group the configurations that must stay together because their cells share a reference.

    Raises:
        ConfigError: they differ in what belongs to the run as a whole.
    """
    make_plan(configs)
    groups: dict[object, list[BenchConf]] = {}
    for conf in configs:
        groups.setdefault(make_plan([conf]).cells[0].reference, []).append(conf)
    return list(groups.values())


def make_jobs(configs: Sequence[BenchConf]) -> list[Job]:
    """Return one job for each group; its run goes below the folder of the whole run.

    Raises:
        ConfigError: the configurations differ in what belongs to the run as a whole.
    """
    jobs = []
    for number, members in enumerate(group(configs)):
        name = f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', members[0].model.key)}"
        run_name = f"{members[0].run_name}/{name}"
        jobs.append(Job(name, tuple(replace(conf, run_name=run_name, quiet=True) for conf in members)))
    return jobs
