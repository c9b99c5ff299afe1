"""The arms of a gate: a revision, installed, with everything that its samples need. See ``bench.gate.rules.ARMS``."""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from bench.errors import BenchError, ConfigError
from bench.gate.dependencies import Wanted
from bench.gate.environments import install
from bench.gate.source import check_out
from bench.gate.venvs import describe
from bench.gate.verdict import Change
from bench.gate.wheels import build_wheel
from bench.noise import between, read_state
from bench.process import ROOT
from bench.run import prepare_models
from bench.sampler import Sampler, beat_iterations
from bench.usercommand import run_program, split_command
from bench.variables import fixed_variables, passed_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.gate.config import GateConf
    from bench.gate.environments import Environment
    from bench.gate.janitor import Guard
    from bench.gate.source import Revision
    from bench.gate.store import Store
    from bench.gate.venvs import Interpreter
    from bench.plan import Cell, Slot
    from bench.process import Outcome
    from bench.runner import Executor

LOADER = "loader"
"""The package that cells measure, and by whose absence a repository is known that is not the loader's."""

_NOT_PASSED = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables of the caller that would put other code into an arm."""


@dataclass(frozen=True)
class Arm:
    """A revision that can be measured.

    Attributes:
        name: of the arm.
        revision: which one.
        environment: where it is installed.
        interpreter: for which Python.
        environ: of its processes.
        code: a checkout of the revision, in which commands run; None where there is none.
    """

    name: str
    revision: Revision
    environment: Environment
    interpreter: Interpreter
    environ: Mapping[str, str]
    code: Path | None


@dataclass(frozen=True)
class Workshop:
    """What makes arms.

    Attributes:
        repository: of the revisions.
        conf: the gate's configuration.
        guard: scratch folder and marker.
        store: of dependencies.
        python: the interpreter to install for.
        pip_arguments: of every installation.
        needs_code: whether commands are measured.
        say: is told what takes a while.
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
                    f"{revision.asked} of {self.repository} has no package {LOADER}, which cells measure. Name the "
                    "command that shall be measured with --command."
                )
            environment = self._install(name, wheel, interpreter, source, programs)
            environ = self._environ(name, environment, harness)
            arms[name] = Arm(name, revision, environment, interpreter, environ, code)
        return arms

    def _install(
        self, name: str, wheel: Path, interpreter: Interpreter, source: Path, programs: Mapping[str, str]
    ) -> Environment:
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

    def _environ(self, name: str, environment: Environment, harness: Path) -> dict[str, str]:
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


def changes(base: Environment, head: Environment) -> tuple[Change, ...]:
    """Return the dependencies that differ."""
    own = {canonicalize_name(environment.distribution) for environment in (base, head)}
    names = sorted({*base.packages, *head.packages} - own)
    pairs = [Change(name, base.packages.get(name), head.packages.get(name)) for name in names]
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
        raise BenchError(f"{words[0]} is not a program that {arm.revision.asked} installs, nor any other on the PATH")
    return run_program(path, words[1:], arm.environ, timeout_s, arm.code)


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
    """Prepare the models in each arm, in the arm's own cache, and return what takes its samples.

    Args:
        arms: by name.
        cells: that are measured in each of them.
        conf: the gate's configuration.
        scratch: the gate's folder.
        quiet: whether to say nothing.

    Raises:
        BenchError: a model is not there.
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
            # A form of the model that only one arm has would be compared with something else.
            failed = [made["error"] for made in (answer, *answer.get("preparations", ())) if "error" in made]
            if failed:
                raise BenchError(f"{model} cannot be prepared in the arm {name}: {'; '.join(failed)}")
        executors[name] = Sampler(
            arm.environ, prepared, folder, folder, conf.sample_timeout_s, beats, python=python, evictions=evictions
        )
    return executors
