"""Which cells go together to one host, and what comes back."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import to_plain
from bench.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Protocol

    from bench.config import BenchConf
    from bench.plan import Cell

    class Backend(Protocol):
        """Has jobs done by hosts."""

        def run(self, jobs: Sequence[Job], folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Job, Answer]]:
            """Yield each job with its answer, in the order in which they end.

            Args:
                jobs: what to do.
                folder: of the whole run, which exists.
                say: is told what happens to jobs and hosts.

            Raises:
                BenchError: there are no hosts.
            """


@dataclass(frozen=True)
class Job:
    """What one host measures as one run.

    Attributes:
        name: of its folder, below that of the whole run.
        configs: of its cells.
    """

    name: str
    configs: tuple[BenchConf, ...]

    @property
    def folder(self) -> Path:
        """Where its records and its manifest go."""
        return Path(self.configs[0].reports_dir) / self.configs[0].run_name

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What it measures, the references among them."""
        return make_plan(self.configs).cells

    def request(self) -> dict[str, Any]:
        """Return what ``bench.job`` is told."""
        return {
            "configs": [to_plain(conf) for conf in self.configs],
            "arguments": sys.argv[1:],
            "end_with_stdin": True,
        }


@dataclass(frozen=True)
class Answer:
    """What became of a job.

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
    """Return the answer that ``bench.job`` gave."""
    return Answer(**{name: str(said.get(name, "")) for name in ("status", "message", "records", "manifest")})


def group(configs: Sequence[BenchConf]) -> list[list[BenchConf]]:
    """Return the configurations in groups that must not be separated: their cells have a reference in common.

    Raises:
        ConfigError: they differ in what belongs to the run as a whole.
    """
    make_plan(configs)
    groups: dict[object, list[BenchConf]] = {}
    for conf in configs:
        groups.setdefault(make_plan([conf]).cells[0].reference, []).append(conf)
    return list(groups.values())


def make_jobs(configs: Sequence[BenchConf]) -> list[Job]:
    """Return one job for each group, whose run lies below the folder of the whole run.

    Raises:
        ConfigError: the configurations differ in what belongs to the run as a whole.
    """
    jobs = []
    for number, members in enumerate(group(configs)):
        name = f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', members[0].model.key)}"
        run_name = f"{members[0].run_name}/{name}"
        jobs.append(Job(name, tuple(replace(conf, run_name=run_name, quiet=True) for conf in members)))
    return jobs
