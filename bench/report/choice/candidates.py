"""The strategies that a run offers to choose from, for each model on each machine. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from bench.data.environment import Environment
from bench.plan.cell import MEANINGS, SERVICE, WARM
from bench.report.choice.uses import ANY, PRELOADED
from loader.arguments import DEFAULT_MODEL
from loader.model.names import repo_ids
from loader.strategies import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from bench.data.records import Record
    from bench.plan.cell import Cell
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary, Ratio

OURS = "embedding_loader"
"""The subject whose strategies are chosen from."""


@dataclass(frozen=True)
class Candidate:
    """A strategy with an engine on a device, as it was measured.

    Attributes:
        name: what tells it from the other candidates.
        strategy: its strategy.
        engine: the engine that was asked for.
        device: the device that was asked for.
        summaries: by scenario label.
        cosine: the lowest with the original's vectors, None if none was compared.
    """

    name: str
    strategy: str
    engine: str
    device: str
    summaries: Mapping[str, CellSummary]
    cosine: float | None

    def find(self, key: str, scenarios: Sequence[str]) -> CellSummary | None:
        """Return the summary of the first of these scenarios that has this metric."""
        for name in scenarios:
            for _, summary in sorted(self.summaries.items()):
                if summary.cell.scenario == name and key in summary.spreads:
                    return summary
        return None


@dataclass(frozen=True)
class Figures:
    """What a candidate costs, in milliseconds and MiB; None is what was not measured.

    Attributes:
        total_ms: from the spawn of the process to the first vector.
        results_ms: from the start of a whole program to its first result.
        init_ms: what the main thread pays.
        wait_ms: the first request's, after the model got ready.
        peak_mib: highest resident memory.
        anonymous_mib: the part of the steady state that is private to the process.
        cosine: the lowest with the original's vectors.
        ratio: of ``total_ms`` to plain sentence-transformers'.
        n: samples behind ``total_ms``, or behind ``results_ms`` where there is none.
    """

    total_ms: float | None
    results_ms: float | None
    init_ms: float | None
    wait_ms: float | None
    peak_mib: float | None
    anonymous_mib: float | None
    cosine: float | None
    ratio: Ratio | None
    n: int


@dataclass(frozen=True)
class Choice:
    """What there is to choose from for one model on one machine.

    Attributes:
        model: name of the model.
        model_key: its short name.
        machine: fingerprint of the machine.
        machine_name: such as ``machine A``; "" if there is only one.
        candidates: the simplest first: in the order of ``loader.strategies``.
        kept: the same with a model service that runs already; no candidate, since it takes a process beside.
        records: the machine's samples that count.
        problem: why there is no candidate, or "".
    """

    model: str
    model_key: str
    machine: str
    machine_name: str
    candidates: tuple[Candidate, ...]
    kept: Candidate | None
    records: Sequence[Record]
    problem: str = ""

    @cached_property
    def records_by_cell(self) -> Mapping[Cell, Sequence[Record]]:
        """The samples of each cell."""
        found: dict[Cell, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.cell, []).append(record)
        return found


class _Scope(NamedTuple):
    machine: str
    model_key: str
    model: str


def choices(context: Context) -> list[Choice]:
    """Return what there is to choose from, for each machine and model of which a cell of the loader was tried.

    The loader's default model is first, the others are in the order in which they were measured.
    """
    scopes: dict[_Scope, list[CellSummary]] = {}
    for summary in context.summaries:
        cell = summary.cell
        if cell.subject == OURS:
            scopes.setdefault(_Scope(summary.machine, cell.model_key, cell.model), []).append(summary)
    default = repo_ids(DEFAULT_MODEL)
    ordered = sorted(scopes.items(), key=lambda item: item[0].model not in default)
    return [_choice(context, scope, summaries) for scope, summaries in ordered]


def where_of(choice: Choice) -> str:
    """Return which model and machine a choice is about."""
    return ", ".join(part for part in (choice.model_key, choice.machine_name) if part)


def figures(candidate: Candidate) -> Figures:
    """Return what a candidate costs, from the scenarios that the report's first tables show."""

    def median(key: str, scenarios: Sequence[str]) -> float | None:
        summary = candidate.find(key, scenarios)
        return summary.median(key) if summary else None

    total, results = candidate.find("total_ms", PRELOADED), candidate.find("results_ms", ("search_command",))
    return Figures(
        total_ms=total.median("total_ms") if total else None,
        results_ms=results.median("results_ms") if results else None,
        init_ms=median("init_ms", ANY),
        wait_ms=median("first_embedding_ms", ("idle",)),
        peak_mib=median("peak_mib", ANY),
        anonymous_mib=median("anonymous_mib", ANY),
        cosine=candidate.cosine,
        ratio=total.ratios.get("total_ms") if total else None,
        n=total.spreads["total_ms"].n if total else results.spreads["results_ms"].n if results else 0,
    )


def _choice(context: Context, scope: _Scope, summaries: Sequence[CellSummary]) -> Choice:
    machine, measured = scope.machine, [summary for summary in summaries if summary.spreads]
    own = [summary for summary in measured if summary.cell.strategy not in MEANINGS]
    several = len(context.manifest.environments) > 1
    records = [record for record in context.chosen if record.machine == machine]
    usual = _usual(own)
    # Names within one machine do without the machine's.
    alone = replace(context, manifest=replace(context.manifest, environments={machine: Environment()}))
    services = _usual([summary for summary in measured if summary.cell.strategy == SERVICE])
    problem = ""
    if not measured:
        problem = "no cell of the loader has a valid sample"
    elif not own:
        problem = "only the model service was measured"
    elif not usual:
        problem = "several cache states or thread counts were measured, but not the default ones"
    return Choice(
        scope.model,
        scope.model_key,
        machine,
        context.machine_name(machine) if several else "",
        tuple(_candidates(alone, usual, records)),
        next(_candidates(alone, services, records), None),
        records,
        problem,
    )


def _candidates(context: Context, summaries: Sequence[CellSummary], records: Sequence[Record]) -> Iterator[Candidate]:
    """Yield what these are of, the simplest first."""
    grouped: dict[tuple[str, str, str], list[CellSummary]] = {}
    for summary in summaries:
        grouped.setdefault((summary.cell.strategy, summary.cell.engine, summary.cell.device), []).append(summary)
    for key, mine in sorted(grouped.items(), key=lambda item: _simplicity(*item[0])):
        yield Candidate(
            _in_brackets(context.name(mine[0], summaries, with_scenario=False)),
            *key,
            {summary.cell.scenario_label: summary for summary in mine},
            _lowest_cosine(records, [summary.cell for summary in mine]),
        )


def _in_brackets(name: str) -> str:
    """Return ``lazy (auto)`` for ``lazy, auto``: the names stand in lists."""
    strategy, _, rest = name.partition(", ")
    return f"{strategy} ({rest})" if rest else strategy


def _usual(summaries: Sequence[CellSummary]) -> list[CellSummary]:
    """Return those with a warm cache and the default threads, or with the only state and number there are."""
    warm = _usual_of({summary.cell.cache_state for summary in summaries}, WARM)
    summaries = [summary for summary in summaries if summary.cell.cache_state in warm]
    threads = _usual_of({summary.cell.threads for summary in summaries}, None)
    return [summary for summary in summaries if summary.cell.threads in threads]


def _usual_of(values: Collection[object], usual: object) -> Collection[object]:
    return {usual} if usual in values else values if len(values) == 1 else ()


def _simplicity(strategy: str, engine: str, device: str) -> tuple[int, bool, str, str, str]:
    """Return what sorts the simplest first; strategies that this version does not know come last."""
    known = [str(name) for name in STRATEGIES]
    return known.index(strategy) if strategy in known else len(known), engine != "auto", strategy, engine, device


def _lowest_cosine(records: Iterable[Record], cells: Collection[Cell]) -> float | None:
    return min((value for record in records if record.cell in cells for value in record.cosines), default=None)
