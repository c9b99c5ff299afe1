"""Dependencies of revisions, installed once and kept: most revisions of a project have the same requirements.

One folder of the store is one virtual environment, ``dependencies-<key>-<random>``; the store's folder may hold other
things as well. The key is a hash of everything that determines what is in it, except the day: the versions that the
index had then stay until ``rebuild``, or until a constraints file says otherwise. Its ready.json is written last, says
what is in it, and has the time of its last use.

An environment that is ready never changes: ``rebuild`` makes another one. And none is removed within a day of its use,
longer than any gate takes. So gates need not agree on who uses what, not even with those of other machines on a shared
disk. The lock only spares two gates the same installation.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from bench.errors import BenchError
from bench.gate.install.dependencies import make_dependencies, needs_of
from bench.gate.install.janitor import remove
from bench.gate.install.venvs import Contents
from bench.measure.tools import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.gate.install.dependencies import Needs, Wanted
    from bench.gate.install.venvs import Interpreter

KEPT = 4
"""How many environments to keep: a project has few sets of dependencies, and one with PyTorch takes gigabytes."""

USED_S = 86400.0
"""How long an environment may be in use, or in the making."""

_READY = "ready.json"
_OURS = re.compile("dependencies-[0-9a-f]{32}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Dependencies:
    """A virtual environment with everything a revision requires, but not the revision.

    Attributes:
        interpreter: the Python it was created with.
        folder: the environment's folder.
        site_packages: the folder of its packages.
        packages: normalized name -> version of everything in it.
        reused: whether it already existed.
    """

    interpreter: Interpreter
    folder: Path
    site_packages: Path
    packages: Mapping[str, str] = field(repr=False)
    reused: bool


class Store:
    """The kept environments of one folder; the same request always gets the same environment from it."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        rebuild: bool = False,
        timeout_s: float = TIMEOUT_S,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing is created or read yet.

        Args:
            folder: the store's folder; None for one in the user's cache folder.
            rebuild: whether to create each environment again when it is first requested.
            timeout_s: time limit of each installation.
            say: is told about long steps.
        """
        self.folder = (folder or platformdirs.user_cache_path("embedding-bench") / "gate").absolute()
        self._rebuild = rebuild
        self._timeout_s = timeout_s
        self._say = say
        self._chosen: dict[str, Dependencies] = {}

    def dependencies(self, wanted: Wanted, environ: Mapping[str, str]) -> Dependencies:
        """Return an environment with what a wheel requires, created now if there is none.

        Args:
            wanted: what to install.
            environ: environment of the programs that this runs.

        Raises:
            BuildError: the dependencies cannot be installed; the message ends with the end of pip's output.
            BenchError: the store, or the request, cannot be used.
        """
        needs = needs_of(wanted)
        if needs.key in self._chosen:
            return replace(self._chosen[needs.key], reused=True)
        with self._locked(needs.key):
            folder = None if self._rebuild else self._newest(needs.key)
            reused = folder is not None
            if folder is None:
                folder = self._make(wanted, needs, environ)
            os.utime(folder / _READY)
            contents = _contents(folder)
        assert contents is not None  # noqa: S101 - it is ready
        made = Dependencies(wanted.interpreter, folder, contents.site_packages, contents.packages, reused)
        self._chosen[needs.key] = made
        self._prune()
        return made

    def _newest(self, key: str) -> Path | None:
        ready = [folder for folder in self.folder.glob(f"dependencies-{key}-*") if _contents(folder)]
        return max(ready, key=_used_s, default=None)

    def _make(self, wanted: Wanted, needs: Needs, environ: Mapping[str, str]) -> Path:
        folder = self.folder / f"dependencies-{needs.key}-{uuid.uuid4().hex[:8]}"
        self._say(f"installing the dependencies of {needs.name} (once, kept in {folder})")
        try:
            contents = make_dependencies(wanted, folder, environ, self._timeout_s)
            said = {"packages": contents.packages, "site_packages": str(contents.site_packages), "needs": asdict(needs)}
            half = folder / f"{_READY}.half"
            half.write_text(json.dumps(said, indent=1, sort_keys=True), encoding="utf-8")
            half.replace(folder / _READY)
        except BaseException:
            remove(folder)
            raise
        return folder

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        lock = self._lock(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._say(f"waiting for another gate that is installing the same dependencies in {self.folder}")
                lock.acquire(poll_interval=0.2)
        except (OSError, NotImplementedError) as error:
            raise BenchError(
                f"The store of dependencies {self.folder} cannot be used: {error}. Choose another folder"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _lock(self, key: str) -> FileLock:
        return FileLock(self.folder / f"{key}.lock")

    def _prune(self) -> None:
        """Remove environments, and what killed gates left, except for the most recently used."""
        found = [path for path in self.folder.iterdir() if _OURS.fullmatch(path.name) and not path.is_symlink()]
        for folder in sorted(found, key=_used_s, reverse=True)[KEPT:]:
            with suppress(Timeout, OSError), self._lock(folder.name.split("-")[1]).acquire(timeout=0):
                if time.time() - _used_s(folder) > USED_S:
                    (folder / _READY).unlink(missing_ok=True)
                    remove(folder)


def _contents(folder: Path) -> Contents | None:
    """Return what is in an environment; None if it is not ready."""
    try:
        said = json.loads((folder / _READY).read_text(encoding="utf-8"))
        return Contents(Path(said["site_packages"]), dict(said["packages"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # its creation was interrupted


def _used_s(folder: Path) -> float:
    """Return when an environment was last used, or when its creation began."""
    for path in (folder / _READY, folder):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0
