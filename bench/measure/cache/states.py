"""The named cache states: what the disk, the bytecode and the loader's cache hold when a sample begins.

A state is set up before each sample and verified before or after it. A sample whose state cannot be verified does not
count: ``problem`` (something went wrong this time) or ``unsupported`` (this machine cannot set it up) says why, and the
caller excludes and counts it.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, ConfigError
from bench.measure.cache.eviction import evict
from bench.measure.cache.mapped_files import mapped_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from bench.measure.cache.eviction import Eviction

MAX_HELD_SHARE = 0.05
"""Largest share of the bytes that processes other than this parent may keep in memory in ``cold_disk``: enough for the
system libraries that any program maps (the C++ runtime, compression), too little for one of the large libraries."""

MIB = 2**20


@dataclass(frozen=True)
class Files:
    """What a sample reads from the disk.

    Attributes:
        weights: the files that hold the model's weights.
        used: everything else that its process uses, see ``bench.measure.cache.used_files``; weights may be among them.
    """

    weights: tuple[Path, ...] = ()
    used: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Arranged:
    """A state that has been set up.

    Attributes:
        variables: what to add to the worker's environment.
        facts: what was found and done, for the record: numbers of bytes and files.
        problem: "", or why the state could not be verified this time.
        unsupported: "", or why this machine cannot set it up, and what to do.
    """

    variables: dict[str, str] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    problem: str = ""
    unsupported: str = ""
    _find_fault: Callable[[], str] = field(default=str, repr=False)

    def verify_after(self) -> str:
        """Return "", or why the sample did not run in this state after all. Call it before the state ends."""
        return self._find_fault()


@dataclass(frozen=True)
class State:
    """A cache state.

    Attributes:
        meaning: one sentence for the documentation.
        arrange: sets it up, given the files and a folder for scratch files, and cleans up afterwards.
    """

    meaning: str
    arrange: Callable[[Files, Path], AbstractContextManager[Arranged]]


@contextmanager
def arranged(state: str, files: Files, scratch: Path) -> Iterator[Arranged]:
    """Set up a cache state for one sample, and clean up afterwards.

    Args:
        state: a name in ``STATES``.
        files: what the sample reads.
        scratch: where to make fresh folders; created if missing.

    Raises:
        ConfigError: there is no such state.
        BenchError: the scratch folder cannot be written.
    """
    if state not in STATES:
        raise ConfigError(f"cache_state.name={state} must be one of {', '.join(STATES)}")
    with STATES[state].arrange(files, scratch) as found:
        yield found


@contextmanager
def _warm(_files: Files, _scratch: Path) -> Iterator[Arranged]:
    yield Arranged()


@contextmanager
def _cold_weights(files: Files, _scratch: Path) -> Iterator[Arranged]:
    eviction = evict(files.weights)
    yield Arranged(
        facts=_facts(eviction),
        problem=_problem(files, eviction),
        unsupported=eviction.unsupported,
    )


@contextmanager
def _cold_disk(files: Files, _scratch: Path) -> Iterator[Arranged]:
    """Evict what can be evicted. Files that this parent maps, such as the interpreter, stay warm in every sample."""
    weights = set(_existing(files.weights))
    used = [path for path in _existing(files.used) if path not in weights]
    mapped, mapped_here = mapped_files(), mapped_files("self")
    # Weights are always evicted: any that stay in memory are a problem.
    kept = [path for path in used if path in mapped]
    held_by_others = [path for path in kept if path not in mapped_here]
    eviction = evict([*files.weights, *(path for path in used if path not in set(kept))])
    kept_bytes, held_bytes = _size_bytes(kept), _size_bytes(held_by_others)
    yield Arranged(
        facts={
            **_facts(eviction),
            "kept_files": len(kept),
            "kept_bytes": kept_bytes,
            "kept_by_others_bytes": held_bytes,
        },
        problem=_problem(files, eviction)
        or _held_problem(held_by_others, held_bytes, eviction.bytes_total + kept_bytes),
        unsupported=eviction.unsupported,
    )


@contextmanager
def _cold_bytecode(_files: Files, scratch: Path) -> Iterator[Arranged]:
    with _fresh_folder(scratch) as folder:

        def find_fault() -> str:
            if next(folder.rglob("*.pyc"), None) is not None:
                return ""
            return "no bytecode was written: is PYTHONDONTWRITEBYTECODE set?"

        yield Arranged({"PYTHONPYCACHEPREFIX": str(folder)}, _find_fault=find_fault)


@contextmanager
def _no_artifact(_files: Files, scratch: Path) -> Iterator[Arranged]:
    with _fresh_folder(scratch) as folder:
        # What a first process starts in the background would disturb the samples after it.
        yield Arranged({"EMBEDDING_LOADER_CACHE": str(folder), "EMBEDDING_LOADER_TOKENIZER": "library"})


STATES = {
    "warm": State(
        "Everything has been read before and is in memory, bytecode is written, and the model is prepared.", _warm
    ),
    "cold_weights": State("The weight files are not in memory: they come from the disk.", _cold_weights),
    "cold_disk": State(
        "Weights, shared objects and bytecode are not in memory, except for files that running processes map, such "
        "as the interpreter's own.",
        _cold_disk,
    ),
    "cold_bytecode": State(
        "There is no bytecode, as after an installation without it: every module that is not built into the "
        "interpreter is compiled from its source.",
        _cold_bytecode,
    ),
    "no_artifact": State(
        "The loader's own cache is empty: nothing is prepared or hashed, as in the very first run.",
        _no_artifact,
    ),
}
"""Name and meaning of every state, in the order of tables."""


@contextmanager
def _fresh_folder(scratch: Path) -> Iterator[Path]:
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        # A killed worker may leave a process that still writes; what it leaves is not our error.
        holder = tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True)
    except OSError as error:
        raise BenchError(f"cannot create a folder in {scratch}: {error}. Choose another reports_dir") from error
    with holder as folder:
        yield Path(folder).resolve()


def _facts(eviction: Eviction) -> dict[str, object]:
    return {
        "files": eviction.files,
        "missing_files": eviction.missing,
        "total_bytes": eviction.bytes_total,
        "resident_before_bytes": eviction.bytes_resident_before,
        "resident_after_bytes": eviction.bytes_resident_after,
    }


def _problem(files: Files, eviction: Eviction) -> str:
    if eviction.unsupported:
        return ""
    if not files.weights:
        return "the model has no known weight files, so none could be evicted"
    missing = [path.name for path in files.weights if not os.path.exists(path)]  # noqa: PTH110 - raises nothing
    if missing:
        return f"missing weight files: {', '.join(missing)}"
    if eviction.is_verified:
        return ""
    return (
        f"{eviction.bytes_resident_after / MIB:.1f} of {eviction.bytes_total / MIB:.1f} MiB are still in memory after "
        "eviction: end the processes that map these files, or move the files to a disk (a tmpfs is memory)"
    )


def _held_problem(held: list[Path], held_bytes: int, total_bytes: int) -> str:
    if not held or held_bytes <= MAX_HELD_SHARE * total_bytes:
        return ""
    largest = max(held, key=lambda path: _size_bytes([path]))
    return (
        f"other processes keep {held_bytes / MIB:.1f} of {total_bytes / MIB:.1f} MiB in memory "
        f"(the largest file is {largest.name}): end them"
    )


def _existing(paths: Iterable[Path]) -> list[Path]:
    """Return the distinct files behind the paths, with links resolved and missing files left out."""
    real = dict.fromkeys(Path(os.path.realpath(path)) for path in paths)
    return [path for path in real if os.path.exists(path)]  # noqa: PTH110 - raises nothing


def _size_bytes(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:  # gone since it was listed
            continue
    return total
