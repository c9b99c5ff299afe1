"""Dependencies of revisions, installed once and kept: most revisions of a project require the same.

One folder of the store is one virtual environment. Its name is a hash of all that decides what is in it, except the
day: what the index had when it was made stays until ``rebuild``, or until a constraints file says otherwise.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from bench.errors import BenchError, BuildError
from bench.gate.dependencies import make_dependencies, needs_of
from bench.gate.janitor import remove
from bench.gate.programs import TIMEOUT_S
from bench.gate.venvs import Contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.gate.dependencies import Needs, Wanted
    from bench.gate.venvs import Interpreter

KEPT = 4
"""Environments that stay: a project under work has few sets of dependencies, and one with PyTorch takes gigabytes."""

_READY = "ready.json"


@dataclass(frozen=True)
class Dependencies:
    """A virtual environment with all that a revision requires, but not the revision.

    Attributes:
        interpreter: on which it was made.
        folder: of the environment.
        site_packages: the folder of its packages.
        packages: normalized name -> version of all that is in it.
        reused: whether it was there already.
    """

    interpreter: Interpreter
    folder: Path
    site_packages: Path
    packages: Mapping[str, str] = field(repr=False)
    reused: bool


class Store:
    """The kept environments of one folder.

    What it has given is in use, and no gate removes it, until ``close`` or the end of this process.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        rebuild: bool = False,
        timeout_s: float = TIMEOUT_S,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing is made or read yet.

        Args:
            folder: of the store; None for one in the user's cache folder.
            rebuild: whether each environment is made again when it is first asked for.
            timeout_s: limit of each installation.
            say: is told about long steps.
        """
        self.folder = (folder or platformdirs.user_cache_path("embedding-bench") / "gate").absolute()
        self._rebuild = rebuild
        self._timeout_s = timeout_s
        self._say = say
        self._made: set[str] = set()
        self._uses: dict[str, FileLock] = {}

    def dependencies(self, wanted: Wanted, environ: Mapping[str, str]) -> Dependencies:
        """Return an environment with what a wheel requires, made now if there is none.

        Args:
            wanted: what to install.
            environ: of the programs that this runs.

        Raises:
            BuildError: the dependencies cannot be installed; ends with the end of what pip said.
            BenchError: the store, or what is wanted, cannot be used.
        """
        needs = needs_of(wanted)
        key, folder = needs.key, self.folder / needs.key
        with self._locked(key):
            contents = self._ready(key)
            reused = contents is not None
            if contents is None:
                self._say(f"installing the dependencies of {needs.name} (once, kept in {folder})")
                contents = self._make(wanted, needs, environ)
                self._made.add(key)
            os.utime(folder / _READY)
            self._use(key)
        self._prune()
        return Dependencies(wanted.interpreter, folder, contents.site_packages, contents.packages, reused)

    def close(self) -> None:
        """Say that what this store has given is no longer in use."""
        while self._uses:
            _, lock = self._uses.popitem()
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    def _ready(self, key: str) -> Contents | None:
        """Return what is in the environment; None if it must be made."""
        if self._rebuild and key not in self._made:
            if self._in_use(key):
                raise BenchError(f"{self.folder / key} cannot be rebuilt: another gate uses it. Wait until it ends")
            return None
        try:
            said = json.loads((self.folder / key / _READY).read_text(encoding="utf-8"))
            return Contents(Path(said["site_packages"]), dict(said["packages"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, or one whose making was broken off

    def _make(self, wanted: Wanted, needs: Needs, environ: Mapping[str, str]) -> Contents:
        folder = self.folder / needs.key
        discard(folder)
        try:
            contents = make_dependencies(wanted, folder, environ, self._timeout_s)
            said = {"packages": contents.packages, "site_packages": str(contents.site_packages), "needs": asdict(needs)}
            half = folder / f"{_READY}.half"
            half.write_text(json.dumps(said, indent=1, sort_keys=True), encoding="utf-8")
            half.replace(folder / _READY)
        except BaseException:
            discard(folder)
            raise
        return contents

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        lock = FileLock(self.folder / f"{key}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._say(f"another gate is installing the same dependencies in {self.folder / key}; waiting for it")
                lock.acquire(poll_interval=0.2)
        except (OSError, NotImplementedError) as error:
            raise BenchError(
                f"The store of dependencies {self.folder} cannot be used: {error}. Name another folder for it"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _use(self, key: str) -> None:
        # A lock file of its own: many gates may use one environment, and the system releases the lock of a dead one.
        if key not in self._uses:
            self._in_use(key)  # removes what killed gates left
            self._uses[key] = FileLock(self.folder / f"{key}.{uuid.uuid4().hex}.use")
            self._uses[key].acquire()

    def _in_use(self, key: str) -> bool:
        """Whether a gate that runs uses the environment; marks of gates that are gone are removed."""
        in_use = False
        for path in self.folder.glob(f"{key}.*.use"):
            try:
                with FileLock(path).acquire(timeout=0):
                    path.unlink(missing_ok=True)
            except Timeout:
                in_use = True
        return in_use

    def _prune(self) -> None:
        """Remove all but the most recently used environments, except those in use or in the making."""
        # Nothing but our own: somebody may have named a folder that has other things in it.
        found = [path for path in self.folder.iterdir() if re.fullmatch("[0-9a-f]{32}", path.name) and path.is_dir()]
        for folder in sorted(found, key=_used_ns, reverse=True)[KEPT:]:
            with suppress(Timeout, OSError), FileLock(self.folder / f"{folder.name}.lock").acquire(timeout=0):
                if not self._in_use(folder.name):
                    discard(folder)


def discard(folder: Path) -> None:
    """Remove an environment, first what says that it is ready.

    Raises:
        BuildError: something of it is left.
    """
    (folder / _READY).unlink(missing_ok=True)
    if not remove(folder):
        raise BuildError(f"{folder} cannot be removed; do it by hand")


def _used_ns(folder: Path) -> int:
    try:
        return (folder / _READY).stat().st_mtime_ns
    except OSError:
        return 0
