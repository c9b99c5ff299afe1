"""One gate, from two revisions to a verdict: install, prepare, measure, decide."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from bench.data.folder import RECORDS_FILE, new_folder
from bench.data.records import append_record
from bench.errors import BenchError, ConfigError
from bench.gate.arms import ArmBuilder, changes, make_executors, run_in
from bench.gate.config import load_gate, make_rules
from bench.gate.decide.rules import ARMS, BASE, HEAD, places_of
from bench.gate.decide.sequence import decide
from bench.gate.decide.verdict import Verdict
from bench.gate.install.janitor import guarded
from bench.gate.install.source import find_repository, has_changes, resolve
from bench.gate.install.store import Store
from bench.gate.manifest import open_folders
from bench.gate.progress import open_progress
from bench.gate.rounds import Measurer
from bench.measure.lock import machine_lock
from bench.measure.machine import describe_environment
from bench.measure.noise import NoiseLimits
from bench.measure.scenarios.user_command import command_cell, split_command
from bench.progress import announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bench.data.environment import Environment
    from bench.gate.arms import Arm
    from bench.gate.config import GateConf
    from bench.gate.decide.rules import Place, Rule
    from bench.gate.install.janitor import Guard
    from bench.gate.install.source import Revision


@dataclass(frozen=True)
class Asked:
    """What the command line says.

    Attributes:
        base: the revision to compare with, as the user named it.
        head: the revision that is judged.
        repository: a folder in it.
        output: the gate's folder.
        overrides: overrides of ``conf/gate.yaml``.
        cells: cells that replace the configured ones and their ceilings.
        command: what is measured instead of cells.
        setup: a command that runs once in each arm before the first sample.
        python: the interpreter to install for.
        pip_arguments: arguments of every installation.
        environments: where installed dependencies are kept; None for the user's cache.
        rebuild: whether to reinstall them.
        quiet: whether to print only errors and the result.
        words: the command line, for the manifest.
    """

    head: str
    output: Path
    base: str = ""
    repository: Path = Path()
    overrides: Sequence[str] = ()
    cells: Sequence[str] = ()
    command: str | None = None
    setup: str | None = None
    python: Path = Path(sys.executable)
    pip_arguments: Sequence[str] = ()
    environments: Path | None = None
    rebuild: bool = False
    quiet: bool = False
    words: str = ""

    def say(self, text: str) -> None:
        """Tell the user about a slow step."""
        announce(text, quiet=self.quiet)


@dataclass
class Session:
    """A gate that is ready to measure.

    Attributes:
        asked: the command line.
        conf: the configuration.
        rules: what is to be decided.
        blocks: what is measured in each round, see ``bench.gate.decide.rules.places_of``.
        arms: the arms by name.
        measurer: takes the samples.
        environments: the arms' environments, as in manifests.
        begun: when the gate began, ``time.monotonic()``.
    """

    asked: Asked
    conf: GateConf
    rules: Sequence[Rule]
    blocks: Sequence[tuple[Place, ...]]
    arms: Mapping[str, Arm]
    measurer: Measurer
    environments: Mapping[str, Environment]
    begun: float


def judge_revisions(asked: Asked) -> Verdict:
    """Compare two revisions and return the verdict; records and manifests are in the gate's folder afterwards.

    Raises:
        BenchError: a revision cannot be installed, a cell has no valid sample, or the configuration is invalid.
    """
    with open_session(asked, dict.fromkeys(ARMS, asked.base) | {HEAD: asked.head}) as session:
        measurer, begun = session.measurer, time.monotonic()
        measurer.warm_up(session.blocks, session.conf.warmup_rounds)
        measuring = time.monotonic()
        course = decide(session.rules, measurer, session.conf.settings, time.monotonic)
        return Verdict(
            base=session.arms[BASE].revision,
            head=session.arms[HEAD].revision,
            course=course,
            settings=session.conf.settings,
            changes=changes(session.arms[BASE].environment, session.arms[HEAD].environment),
            machine=session.environments[BASE].to_json(),
            samples=measurer.samples,
            disturbed=measurer.disturbed,
            measured_s=time.monotonic() - measuring,
            prepared_s=begun - session.begun,
            command=asked.words,
        )


@contextmanager
def open_session(
    asked: Asked,
    revisions: Mapping[str, str],
    to_blocks: Callable[[Sequence[Rule]], Sequence[tuple[Place, ...]]] = places_of,
) -> Iterator[Session]:
    """Install the revisions and prepare what measures them; only the gate's folder remains afterwards.

    Args:
        asked: the command line.
        revisions: the revisions to install, by arm, as the user named them.
        to_blocks: which places the rules need.

    Raises:
        BenchError: see ``judge_revisions``.
    """
    begun = time.monotonic()
    conf = load_gate(asked.overrides, is_command=asked.command is not None)
    if asked.cells:
        conf = replace(conf, cells=list(asked.cells), ceilings=[])
    command = command_cell(split_command(asked.command)) if asked.command is not None else None
    if command is not None and (conf.cells or conf.ceilings):
        raise ConfigError("a command cannot be gated together with cells: choose a gate= option without cells")
    rules = make_rules(conf, command)
    blocks = to_blocks(rules)
    environ = dict(os.environ)
    repository = find_repository(asked.repository.absolute(), environ)
    found = {name: resolve(repository, revision, environ) for name, revision in revisions.items()}
    if has_changes(repository, environ):
        asked.say(f"{repository} has uncommitted changes, which are not measured")
    folder = new_folder(asked.output, "*/*.jsonl")
    store = Store(asked.environments, rebuild=asked.rebuild, say=asked.say)
    with machine_lock(conf.machine_lock, asked.say), guarded() as guard:
        arms = _make_arms(asked, conf, repository, guard, store, found, needs_code=command is not None)
        if asked.setup is not None:
            _set_up(arms.values(), asked.setup, conf.sample_timeout_s)
        cells = {name: [place.cell for block in blocks for place in block if place.arm == name] for name in arms}
        executors = make_executors(arms, cells, conf, guard.folder, quiet=asked.quiet)
        environments = {name: _describe(arm) for name, arm in arms.items()}
        stamps = open_folders(folder, asked.words, conf, arms, cells, environments)
        with open_progress(conf.budget_s, conf.max_rounds, quiet=asked.quiet) as progress:
            measurer = Measurer(
                executors,
                stamps,
                lambda name, record: append_record(folder / name / RECORDS_FILE, record),
                NoiseLimits(conf.max_steal, conf.max_foreign_cpu),
                os.cpu_count() or 1,
                conf.seed,
                progress,
            )
            yield Session(asked, conf, rules, blocks, arms, measurer, environments, begun)


def _make_arms(
    asked: Asked,
    conf: GateConf,
    repository: Path,
    guard: Guard,
    store: Store,
    revisions: Mapping[str, Revision],
    *,
    needs_code: bool,
) -> dict[str, Arm]:
    builder = ArmBuilder(repository, conf, guard, store, asked.python, asked.pip_arguments, needs_code, asked.say)
    return builder.make(revisions)


def _set_up(arms: Iterable[Arm], command: str, timeout_s: float) -> None:
    for arm in arms:
        outcome = run_in(arm, command, timeout_s)
        if outcome.exit_code != 0:
            raise BenchError(
                f"--setup {command!r} failed with exit code {outcome.exit_code} in the arm {arm.name}:\n"
                f"{outcome.stderr_tail.strip()}"
            )


def _describe(arm: Arm) -> Environment:
    """Return the environment of an arm: this machine, with the arm's own Python and packages."""
    own, markers = canonicalize_name(arm.environment.distribution), arm.interpreter.markers
    python = f"{markers['platform_python_implementation']} {markers['python_full_version']}"
    packages = {name: version for name, version in arm.environment.packages.items() if name != own}
    return replace(describe_environment(), python=python, packages=packages)
