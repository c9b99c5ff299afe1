"""What stands at the top of a report: the questions that people come with, answered from the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import METRICS_BY_KEY
from bench.report.candidates import choices
from bench.report.document import Prose, escape
from bench.report.profiles import imports_of_cell
from bench.report.reasons import cost_in_memory, join, key_figures, sentence, show_cosine
from bench.report.recommend import recommend
from bench.report.sections.sensitivity import verdict
from bench.report.sensitivity import sensitivities
from bench.report.tables import started
from bench.report.uses import ANY, ONE_SHOT

if TYPE_CHECKING:
    from bench.report.candidates import Candidate, Choice
    from bench.report.context import Context
    from bench.report.document import Block
    from bench.stats import CellSummary

PHASES = {
    "python_ms": "the start of Python",
    "init_ms": "init, for which the program waits",
    "ready_ms": "loading, while the program goes on",
    "first_embedding_ms": "the first request",
}
"""What a start is made of, one after the other."""

SHOWN_PACKAGES = 2


def lead(context: Context) -> tuple[Block, ...]:
    """Return it: for the first model that the loader was measured with, on the first machine."""
    models = join([escape(name) for name in context.models])
    blocks: list[Block] = [Prose(f"Models: {models or 'none'}.")]
    if not context.measured:
        return (*blocks, Prose("No cell has a sample that counts: see below."))
    choice = next((choice for choice in choices(context) if choice.candidates), None)
    if choice is None:
        return tuple(blocks)
    fastest, answer = _fastest(choice)
    several = len(context.models) > 1 or choice.machine_name
    where = ", ".join(part for part in (context.models[choice.model], choice.machine_name) if part)
    lines = [
        answer,
        _memory(context, choice, fastest),
        _made_of(context, fastest),
        _would_be_seen(context, fastest),
        _believable(context),
    ]
    heading = f"At a glance, for {escape(where)} (the others follow below):" if several else "At a glance:"
    return (*blocks, Prose("\n".join([heading, "", *(f"- {line}" for line in lines if line)])))


def _fastest(choice: Choice) -> tuple[Candidate, str]:
    """Return the strategy for a command line tool, or the only one, and what makes it that."""
    found = recommend(choice)[0]
    if found.winner is None or len(choice.candidates) == 1:
        (only, *_) = choice.candidates
        return only, f"**{escape(only.name)}**: {escape(key_figures(only))}."
    text = f"**The fastest for a command line tool: {escape(found.winner.name)}.** {escape(sentence(found))}"
    plain = found.winner.find("total_ms", ONE_SHOT)
    if plain is not None and "total_ms" in plain.ratios:
        times = 1 / plain.ratios["total_ms"].median
        shown = f"{times:.{0 if times >= 10 else 1}f}"
        text += f" Plain sentence-transformers takes {shown} times as long to its first vector."
    return found.winner, text


def _memory(context: Context, choice: Choice, candidate: Candidate) -> str:
    """Return what it costs in memory, beside plain sentence-transformers."""
    summary = candidate.find("peak_mib", ANY)
    if summary is None:
        return ""
    text = f"**Its cost in memory:** {escape(cost_in_memory(candidate))}"
    if "peak_mib" in summary.ratios:
        plain = next(
            other
            for other in context.measured
            if other.cell.is_baseline
            and (other.cell.reference, other.machine) == (summary.cell.reference, choice.machine)
        )
        text += f"; plain sentence-transformers takes {METRICS_BY_KEY['peak_mib'].show(plain.median('peak_mib'))}"
    return f"{text}."


def _made_of(context: Context, candidate: Candidate) -> str:
    """Return what dominates the start-up: the phases, what importing NumPy takes alone, and the largest imports."""
    summary = candidate.find("total_ms", ANY)
    if summary is None:
        return ""
    show, median = METRICS_BY_KEY["total_ms"].show, summary.median
    phases = {key: value for key in PHASES if (value := median(key)) is not None}
    names = (
        PHASES if "ready_ms" in phases else PHASES | {"first_embedding_ms": "the first request, which loads the model"}
    )
    told = join([f"{show(value)} for {names[key]}" for key, value in phases.items()])
    largest = names[max(phases, key=lambda key: phases[key])]
    text = f"**What dominates its start-up:** {largest}. Of {show(median('total_ms'))}: {told}."
    return " ".join([text, *_floor(context, summary), *_packages(context, summary)])


def _floor(context: Context, summary: CellSummary) -> list[str]:
    """Return what a process takes that only imports NumPy, if that was measured beside."""
    for other in context.measured:
        is_alike = (other.cell.reference, other.machine) == (summary.cell.reference, summary.machine)
        if is_alike and other.cell.subject == "import_numpy":
            took = METRICS_BY_KEY["total_ms"].show(other.median("total_ms"))
            return [f"A process that does nothing but import NumPy takes {took}."]
    return []


def _packages(context: Context, summary: CellSummary) -> list[str]:
    """Return which packages the imports go to, if that was looked at."""
    found = imports_of_cell(context, summary)
    if not found or sum(found.values()) <= 0:
        return []
    largest = sorted(found, key=lambda name: (-found[name], name))[:SHOWN_PACKAGES]
    shares = join([f"{escape(name)} {found[name] / sum(found.values()):.0%}" for name in largest])
    return [f"Of the time that its imports take: {shares}."]


def _would_be_seen(context: Context, candidate: Candidate) -> str:
    """Return whether a slower start would have been seen."""
    summary = candidate.find("total_ms", ONE_SHOT)
    for found in sensitivities(context):
        if summary is not None and (found.cell, found.machine) == (summary.cell, summary.machine):
            return (
                f"**Would +10 % have been seen?** By comparing this run with a second one like it: {verdict(found)}. "
                f"The "
                "gate (`python -m bench.gate`) takes as many rounds as it needs; how often it was right stands in "
                "`docs/explanation/gate-power.md`."
            )
    return ""


def _believable(context: Context) -> str:
    """Return how much stands behind the figures."""
    counts = [summary.spreads["total_ms"].n for summary in started(context) if "total_ms" in summary.spreads]
    if not counts:
        return ""
    rounds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    excluded = sum(summary.excluded for summary in context.summaries)
    text = (
        f"**Can this be believed?** {rounds} fresh processes of each cell count; {excluded} samples were left out, "
        "because they failed, or were disturbed and taken again."
    )
    by_precision: dict[str, list[float]] = {}
    for record in context.chosen:
        if record.cosines and not record.cell.is_baseline:
            by_precision.setdefault(escape(str(record.facts.get("precision"))), []).extend(record.cosines)
    told = [f"{show_cosine(min(cosines))} ({precision})" for precision, cosines in by_precision.items()]
    return f"{text} Lowest cosine with plain sentence-transformers' vectors: {join(told)}." if told else text
