"""The arms of a gate (``bench.gate.decide.rules.ARMS``): a revision, installed, with what its samples need."""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from bench.errors import BenchError, ConfigError
from bench.gate.decide.verdict import DependencyChange
from bench.gate.install.dependencies import Wanted
from bench.gate.install.environments import install
from bench.gate.install.source import check_out
from bench.gate.install.venvs import describe
from bench.gate.install.wheels import build_wheel
from bench.measure.noise import between, read_state
from bench.measure.run import prepare_models
from bench.measure.sampler import Sampler, beat_iterations
from bench.measure.scenarios.user_command import run_user_command, split_command
from bench.measure.variables import fixed_variables, passed_environment
from bench.plan.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.gate.config import GateConf
    from bench.gate.install.environments import ArmEnvironment
    from bench.gate.install.janitor import Guard
    from bench.gate.install.source import Revision
    from bench.gate.install.store import Store
    from bench.gate.install.venvs import Interpreter
    from bench.measure.process import Outcome
    from bench.measure.runner import Executor
    from bench.plan.cell import Cell
    from bench.plan.plan import Slot

LOADER = "loader"
"""The package that cells measure; a repository without it is not the loader's."""

_NOT_PASSED = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables of the caller that could bring other code into an arm."""


@dataclass(frozen=True)
class Arm:
    """A revision that can be measured.

    Attributes:
        name: the arm's name.
        revision: the revision.
        environment: where it is installed.
        interpreter: the Python it is installed for.
        environ: its processes' environment.
        code: a checkout of the revision, in which commands run; None if there is none.
    """

    name: str
    revision: Revision
    environment: ArmEnvironment
    interpreter: Interpreter
    environ: Mapping[str, str]
    code: Path | None


@dataclass(frozen=True)
class ArmBuilder:
    """Creates arms.

    Attributes:
        repository: the revisions' repository.
        conf: the gate's configuration.
        guard: scratch folder and marker.
        store: the store of dependencies.
        python: the interpreter to install for.
        pip_arguments: arguments of every installation.
        needs_code: whether commands are measured.
        say: is told about slow steps.
    """

    repository: Path
    conf: GateConf
    guard: Guard
    store: Store
    python: Path
    pip_arguments: Sequence[str]
    needs_code: bool
    say: Callable[[str], None]

    def make(self, revisions: Mapping[str, Revision]) -> dict[str, Arm]:
        """Return an arm for each revision, by name; each is built once, and installed once for each arm.

        Raises:
            BenchError: a revision cannot be checked out, built or installed.
        """
        programs = {**os.environ, **self.guard.variables}
        harness = self.guard.folder / "harness"
        shutil.copytree(ROOT / "bench", harness / "bench", ignore=shutil.ignore_patterns("__pycache__"))
        interpreter = describe(self.python, programs)
        wheels: dict[str, Path] = {}
        arms = {}
        for name, revision in revisions.items():
            source = self.guard.folder / "source" / revision.commit
            if revision.commit not in wheels:
                self.say(f"building {revision.asked} ({revision.short} {revision.subject})")
                check_out(self.repository, revision, source, programs)
                target = self.guard.folder / "wheels" / revision.commit
                wheels[revision.commit] = build_wheel(
                    source, target, programs, python=self.python, pip_arguments=self.pip_arguments
                )
            wheel = wheels[revision.commit]
            code = None
            if self.needs_code:
                code = self.guard.folder / "code" / name
                check_out(self.repository, revision, code, programs)
            elif not _has_loader(wheel):
                raise ConfigError(
                    f"{revision.asked} of {self.repository} has no package {LOADER}, which cells measure. Use "
                    "--command to measure a command."
                )
            environment = self._install(name, wheel, interpreter, source, programs)
            environ = self._environ(name, environment, harness)
            arms[name] = Arm(name, revision, environment, interpreter, environ, code)
        return arms

    def _install(
        self, name: str, wheel: Path, interpreter: Interpreter, source: Path, programs: Mapping[str, str]
    ) -> ArmEnvironment:
        constraints = source / self.conf.constraints if self.conf.constraints else None
        wanted = Wanted(
            wheel,
            interpreter,
            extras=self.conf.extras,
            constraints=constraints if constraints is not None and constraints.is_file() else None,
            pip_arguments=self.pip_arguments,
        )
        dependencies = self.store.dependencies(wanted, programs)
        return install(wheel, self.guard.folder / "arms" / name, dependencies, programs)

    def _environ(self, name: str, environment: ArmEnvironment, harness: Path) -> dict[str, str]:
        environ = passed_environment(self.conf.pass_variables)
        environ = {key: value for key, value in environ.items() if key not in _NOT_PASSED}
        cache = self.guard.folder / "caches" / name
        path = os.pathsep.join(filter(None, [str(environment.scripts), environ.get("PATH")]))
        environ |= {**fixed_variables(cache), "PATH": path, "VIRTUAL_ENV": str(environment.folder)}
        if not self.needs_code:
            environ["PYTHONPATH"] = str(harness)
        return {**environ, **self.guard.variables}


def _has_loader(wheel: Path) -> bool:
    with zipfile.ZipFile(wheel) as archive:
        return f"{LOADER}/__init__.py" in archive.namelist()


def changes(base: ArmEnvironment, head: ArmEnvironment) -> tuple[DependencyChange, ...]:
    """Return the dependencies that differ."""
    own = {canonicalize_name(environment.distribution) for environment in (base, head)}
    names = sorted({*base.packages, *head.packages} - own)
    pairs = [DependencyChange(name, base.packages.get(name), head.packages.get(name)) for name in names]
    return tuple(change for change in pairs if change.base != change.head)


def run_in(arm: Arm, command: str, timeout_s: float) -> Outcome:
    """Run a command in an arm, in the arm's own checkout.

    Raises:
        BenchError: there is no such program.
    """
    words = split_command(command)
    path = shutil.which(words[0], path=arm.environ["PATH"])
    if path is None and arm.code is not None and os.sep in words[0]:
        path = shutil.which(arm.code / words[0])
    if path is None:
        raise BenchError(f"{words[0]} is neither a program that {arm.revision.asked} installs nor one on the PATH")
    return run_user_command(path, words[1:], arm.environ, timeout_s, arm.code)


@dataclass(frozen=True)
class CommandExecutor:
    """Takes samples of a command."""

    arm: Arm
    timeout_s: float

    def __call__(self, slot: Slot) -> Outcome:
        """Run the command once."""
        before = read_state()
        outcome = run_in(self.arm, slot.cell.strategy, self.timeout_s)
        return replace(outcome, noise=between(before, read_state(), outcome.cpu_s, os.cpu_count() or 1))


def make_executors(
    arms: Mapping[str, Arm], cells: Mapping[str, Sequence[Cell]], conf: GateConf, scratch: Path, *, quiet: bool
) -> dict[str, Executor]:
    """Prepare the models in each arm, in the arm's own cache, and return the executors that take its samples.

    Args:
        arms: the arms by name.
        cells: the cells to measure in each of them.
        conf: the gate's configuration.
        scratch: the gate's folder.
        quiet: whether to say nothing.

    Raises:
        BenchError: a model is missing.
    """
    executors: dict[str, Executor] = {}
    beats = beat_iterations()
    evictions: dict[str, int] = {}
    for name, arm in arms.items():
        if arm.code is not None:
            executors[name] = CommandExecutor(arm, conf.sample_timeout_s)
            continue
        folder = scratch / "models" / name
        folder.mkdir(parents=True)
        python = str(arm.environment.python)
        prepared = prepare_models(cells[name], arm.environ, folder, None, quiet=quiet, python=python)
        for model, answer in prepared.items():
            # If only one arm has a form of the model, the arms would load different things.
            failed = [made["error"] for made in (answer, *answer.get("preparations", ())) if "error" in made]
            if failed:
                raise BenchError(f"{model} cannot be prepared in the arm {name}: {'; '.join(failed)}")
        executors[name] = Sampler(
            arm.environ, prepared, folder, folder, conf.sample_timeout_s, beats, python=python, evictions=evictions
        )
    return executors
