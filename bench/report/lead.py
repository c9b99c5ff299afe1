"""What stands at the top of a report: the questions that people come with, answered from the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import METRICS_BY_KEY
from bench.report.candidates import choices
from bench.report.document import Prose, escape
from bench.report.profiles import imports_of_cell
from bench.report.reasons import cost_in_memory, join, kept_loaded, key_figures, sentence, show_cosine
from bench.report.recommend import recommend
from bench.report.sensitivity import EFFECT, RELIABLE, sensitivities
from bench.report.tables import started
from bench.report.uses import ANY, ONE_SHOT

if TYPE_CHECKING:
    from bench.report.candidates import Candidate, Choice
    from bench.report.context import Context
    from bench.report.document import Block
    from bench.report.sensitivity import Sensitivity
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
    """Return it: for the first of ``choices``."""
    models = join([escape(name) for name in context.models])
    blocks: list[Block] = [Prose(f"Models: {models or 'none'}.")]
    if not context.measured:
        return (*blocks, Prose("No cell has a sample that counts: see below."))
    choice = next((choice for choice in choices(context) if choice.candidates), None)
    if choice is None:
        return tuple(blocks)
    fastest, answer = _fastest(context, choice)
    several = len(context.models) > 1 or choice.machine_name
    where = ", ".join(part for part in (context.models[choice.model], choice.machine_name) if part)
    lines = [
        answer,
        _kept(choice),
        _memory(context, fastest),
        _made_of(context, fastest),
        _would_be_seen(context, fastest),
        _believable(context, choice),
    ]
    heading = f"At a glance, for {escape(where)} (the others follow below):" if several else "At a glance:"
    return (*blocks, Prose("\n".join([heading, "", *(f"- {line}" for line in lines if line)])))


def _fastest(context: Context, choice: Choice) -> tuple[Candidate, str]:
    """Return the strategy for a command line tool, or the only one, and what makes it that."""
    found = recommend(choice)[0]
    if found.winner is None or len(choice.candidates) == 1:
        (only, *_) = choice.candidates
        return only, f"**{escape(only.name)}**: {escape(key_figures(only))}."
    text = f"**The fastest for a command line tool: {escape(found.winner.name)}.** {escape(sentence(found))}"
    leading = next((step for step in found.steps if step.scenario), None)
    if leading is None:
        return found.winner, text
    summary, key = found.winner.summaries[leading.scenario], leading.criterion.key
    plain, ratio = _baseline(context, summary), summary.ratios.get(key)
    if plain is not None and ratio is not None and ratio.median > 0:
        times = f"{1 / ratio.median:.{0 if ratio.median <= 0.1 else 1}f}"
        took = METRICS_BY_KEY[key].show(plain.median(key))
        text += f" Plain sentence-transformers takes {took} for the same, {times} times as long."
    return found.winner, text


def _kept(choice: Choice) -> str:
    kept = kept_loaded(choice, recommend(choice)[0])
    return f"**If it is called again and again:** {escape(kept)}" if kept else ""


def _memory(context: Context, candidate: Candidate) -> str:
    """Return what it costs in memory, beside plain sentence-transformers."""
    summary = candidate.find("peak_mib", ANY)
    if summary is None:
        return ""
    text = f"**Its cost in memory:** {escape(cost_in_memory(candidate))}"
    plain = _baseline(context, summary)
    if plain is not None and plain.median("peak_mib") is not None:
        text += f"; plain sentence-transformers takes {METRICS_BY_KEY['peak_mib'].show(plain.median('peak_mib'))}"
    return f"{text}."


def _baseline(context: Context, summary: CellSummary) -> CellSummary | None:
    """Return the reference of a cell."""
    for other in context.measured:
        if other.cell.is_baseline and _belongs(other, summary):
            return other
    return None


def _belongs(other: CellSummary, summary: CellSummary) -> bool:
    """Whether two cells differ in nothing but what embeds."""
    return (other.cell.reference, other.machine) == (summary.cell.reference, summary.machine)


def _made_of(context: Context, candidate: Candidate) -> str:
    """Return what dominates the start-up: the phases, what importing NumPy takes alone, and the largest imports."""
    summary = candidate.find("total_ms", ANY)
    if summary is None:
        return ""
    show, median = METRICS_BY_KEY["total_ms"].show, summary.median
    phases = {key: value for key in PHASES if (value := median(key)) is not None}
    if not phases:
        return ""
    names = (
        PHASES if "ready_ms" in phases else PHASES | {"first_embedding_ms": "the first request, which loads the model"}
    )
    told = join([f"{show(value)} for {names[key]}" for key, value in phases.items()])
    largest, total = names[max(phases, key=lambda key: phases[key])], median("total_ms")
    of_numpy = _floor(context, summary)
    is_numpy = of_numpy is not None and total is not None and of_numpy > total / 2
    text = f"**What dominates its start-up:** {'importing NumPy' if is_numpy else largest}."
    if is_numpy:
        text += f" A process that does nothing else takes {show(of_numpy)} of the {show(total)}."
    return " ".join([f"{text} One after the other: {told}.", *_packages(context, summary)])


def _floor(context: Context, summary: CellSummary) -> float | None:
    """Return what a process takes that only imports NumPy, if that was measured beside."""
    for other in context.measured:
        if other.cell.subject == "import_numpy" and _belongs(other, summary):
            return other.median("total_ms")
    return None


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
            return f"**Would a start that is 10 % slower have been noticed?** {_noticed(found)}"
    return ""


def _noticed(found: Sensitivity) -> str:
    """Return what a comparison with a second run like this one sees."""
    if not found.can_be_told:
        return (
            f"Not by this run: a comparison of two takes at least {found.rounds_needed} rounds, and it has {found.n}."
        )
    reliable = f"{found.smallest_seen:.0%}" if found.smallest_seen is not None else "no change up to 100 %"
    return (
        f"A comparison of this run with a second one like it sees it in {found.seen(EFFECT):.0%} of cases; what it "
        f"sees in {RELIABLE:.0%} of them is {reliable} or more. The gate (`python -m bench.gate`) takes as many rounds "
        "as it needs, and finds smaller changes."
    )


def _believable(context: Context, choice: Choice) -> str:
    """Return how much stands behind the figures."""
    counts = [summary.spreads["total_ms"].n for summary in started(context) if "total_ms" in summary.spreads]
    if not counts:
        return ""
    rounds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    again = sum(record.attempt > 0 for record in context.records)
    missing = sum(not summary.spreads for summary in context.summaries)
    text = f"**Can this be believed?** {rounds} fresh processes of each start-up count"
    if again:
        text += f"; {again} samples were taken again because other work disturbed them"
    if missing:
        text += f"; {missing} of {len(context.summaries)} cells have no sample that counts (see below)"
    text += "."
    by_precision: dict[str, list[float]] = {}
    for record in context.chosen:
        if record.cosines and not record.cell.is_baseline and record.cell.model == choice.model:
            by_precision.setdefault(escape(str(record.facts.get("precision"))), []).extend(record.cosines)
    told = [f"{show_cosine(min(cosines))} ({precision})" for precision, cosines in by_precision.items()]
    return (
        f"{text} Lowest cosine of the samples' vectors with plain sentence-transformers': {join(told)}."
        if told
        else text
    )
