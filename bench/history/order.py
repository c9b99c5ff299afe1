"""Which runs belong together, and in which order: by commit, not by when or where they were measured."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.history.runs import HistoryRun, MeasuredRevision, printable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

SHORT = 8
"""How many characters of a hash are shown."""

_BEGINNING = datetime.datetime.min.replace(tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Position:
    """A place on the axis: a commit, or uncommitted code.

    Attributes:
        revision: None if its run does not say what it measured; each such run has its own position.
        time: the commit's; if unknown, the first sample's; None if neither is known.
        runs: in the order in which they were measured. Only one if the code was not committed.
    """

    revision: MeasuredRevision | None
    time: datetime.datetime | None
    runs: tuple[HistoryRun, ...]

    @property
    def name(self) -> str:
        """The beginning of the commit's hash, with a + if the code had uncommitted changes."""
        if self.revision is None:
            return "?"
        return self.revision.commit[:SHORT] + ("+" if self.revision.dirty else "")

    @property
    def is_placed_by_commit(self) -> bool:
        """Whether the time is that of the commit."""
        return self.revision is not None and self.revision.committed_at is not None


@dataclass(frozen=True)
class RunGroup:
    """Runs that were measured alike.

    Attributes:
        name: A, B ...
        machine: the machine, in words.
        differing: how it differs from the other groups.
        positions: in order of time.
    """

    name: str
    machine: str
    differing: Mapping[str, str]
    positions: tuple[Position, ...]

    @property
    def runs(self) -> list[HistoryRun]:
        """All runs, in order."""
        return [run for position in self.positions for run in position.runs]


def group_runs(runs: Sequence[HistoryRun], last: int | None = None) -> list[RunGroup]:
    """Return the groups of runs whose figures may be compared, the one with the most commits first.

    Args:
        runs: in any order.
        last: how many positions of each group to keep; None for all.
    """
    by_key: dict[str, list[HistoryRun]] = {}
    for run in runs:
        key = json.dumps([run.comparable, run.conditions], sort_keys=True)
        by_key.setdefault(key, []).append(run)
    times = _commit_times(runs)
    placed = sorted(
        ((key, _positions(alike, times)) for key, alike in by_key.items()), key=lambda item: (-len(item[1]), item[0])
    )
    facts = [_facts(positions[0].runs[0]) for _, positions in placed]
    differing = {name for each in facts for name in each if any(name not in o or o[name] != each[name] for o in facts)}
    return [
        RunGroup(
            name=_letters(number),
            machine=_describe(positions[0].runs[0]),
            differing={name: mine.get(name, "-") for name in sorted(differing)},
            positions=tuple(positions[-last:] if last else positions),
        )
        for number, ((_, positions), mine) in enumerate(zip(placed, facts, strict=True))
    ]


def _commit_times(runs: Iterable[HistoryRun]) -> dict[str, datetime.datetime]:
    """Return when each commit was made: one run's date serves all runs of that commit."""
    return {
        run.revision.commit: run.revision.committed_at
        for run in runs
        if run.revision is not None and run.revision.committed_at is not None
    }


def _positions(runs: Sequence[HistoryRun], times: Mapping[str, datetime.datetime]) -> list[Position]:
    together: dict[Hashable, list[HistoryRun]] = {}
    for number, run in enumerate(sorted(runs, key=_when_measured)):
        is_commit = run.revision is not None and not run.revision.dirty
        together.setdefault(run.revision.commit if is_commit and run.revision else number, []).append(run)
    return sorted((_position(tuple(alike), times) for alike in together.values()), key=_place)


def _position(runs: tuple[HistoryRun, ...], times: Mapping[str, datetime.datetime]) -> Position:
    revision = runs[0].revision
    if revision is None:
        return Position(None, runs[0].measured_at, runs)
    subject = next((run.revision.subject for run in runs if run.revision and run.revision.subject), "")
    known = times.get(revision.commit)
    revision = MeasuredRevision(revision.commit, known, revision.dirty, subject)
    return Position(revision, known or runs[0].measured_at, runs)


def _place(position: Position) -> tuple[Any, ...]:
    # Commits of the same second, as a rebase makes them, stay in the order they were measured; changed code comes after
    # its commit.
    dirty = position.revision is not None and position.revision.dirty
    return (position.time or _BEGINNING, dirty, *_when_measured(position.runs[0]))


def _when_measured(run: HistoryRun) -> tuple[Any, ...]:
    return (run.measured_at or _BEGINNING, run.name, run.run)


def _facts(run: HistoryRun) -> dict[str, str]:
    """Return what distinguishes a group from others."""
    facts = run.environment.facts | dict(run.conditions)
    return {printable(name): printable(str(value)) for name, value in facts.items()}


def _describe(run: HistoryRun) -> str:
    found = run.environment
    usable = "unknown" if found.processors_usable is None else found.processors_usable
    processor, python, system = (printable(text or "unknown") for text in (found.processor, found.python, found.system))
    return f"{processor}, {usable} processors, {python}, {system}"


def _letters(number: int) -> str:
    """Return A, B ... Z, AA, AB ..."""
    text = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("A") + digit) + text
    return text
