"""Why a strategy is recommended, in words. Names come as they are: what puts them into prose has to escape them."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from bench.metrics import METRICS_BY_KEY, MIB
from bench.report.candidates import figures
from bench.report.recommend import EXACT
from bench.report.tables import show_ratio
from bench.report.uses import COSINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.candidates import Candidate, Choice
    from bench.report.recommend import Loss, Recommendation, Step
    from bench.report.uses import Criterion

_CLAUSES = {
    "results_ms": "it prints its first result after {}",
    "total_ms": "its first vector comes {} after process start",
    "init_ms": "the caller is blocked for {}",
    "first_embedding_ms": "the first request takes {} {}",
    "second_embedding_ms": "the next request takes {}",
    "peak_mib": "it takes {} of memory at most",
    "total_stall_ms": "it holds other work up by {} in all",
    "longest_stall_ms": "it holds other work up by {} at worst",
    "cpu_s": "it takes {} of processor time",
}
"""What a metric says of a strategy; the second place is ``_WHEN``."""

_WHEN = {"idle": "once the model is ready", "think_time": "after other work"}


def sentence(found: Recommendation) -> str:
    """Return why, with figures: the criterion that leads the use, and all that eliminated somebody."""
    if found.winner is None:
        return f"{_capital(found.problem)}."
    measured = [step for step in found.steps if not step.skipped]
    leading = next(step for step in measured if step.criterion.key != COSINE)
    told = [_capital("; ".join(_clause(found, step) for step in measured if step is leading or step.lost))]
    if found.equals:
        told.append(f"Not to be told from it: {join(found.equals)}; {found.winner.name} is the simplest of them")
    told += _costs(found, found.winner)
    return " ".join(f"{part}." for part in told)


def cost_in_memory(candidate: Candidate) -> str:
    """Return the peak, and what of the memory the process shares with nobody."""
    found = figures(candidate)
    peak, own = (
        METRICS_BY_KEY["peak_mib"].show(found.peak_mib),
        METRICS_BY_KEY["anonymous_mib"].show(found.anonymous_mib),
    )
    return peak if found.anonymous_mib is None else f"{peak}, {own} of it private"


def kept_loaded(choice: Choice, found: Recommendation) -> str:
    """Return what a model service changes for this use, and what memory it takes; "" if that was not measured."""
    if choice.kept is None or found.winner is None:
        return ""
    changes = [_change(choice.kept, found.winner, criterion) for criterion in found.use.criteria]
    changes = [change for change in changes if change]
    if not changes:
        return ""
    cells = {summary.cell for summary in choice.kept.summaries.values()}
    told = [record.facts.get("service_memory") or {} for record in choice.records if record.cell in cells]
    median = {
        key: statistics.median(measured)
        for key in ("rss_bytes", "rss_anon_bytes")
        if (measured := [memory[key] for memory in told if key in memory])
    }
    mib = METRICS_BY_KEY["peak_mib"].show
    text = f"With a process that keeps the model, strategy {choice.kept.name}, {join(changes)}"
    if "rss_bytes" not in median:
        return f"{text}."
    own = f", {mib(median['rss_anon_bytes'] / MIB)} of it private" if "rss_anon_bytes" in median else ""
    return f"{text}. That process takes {mib(median['rss_bytes'] / MIB)}{own}, as long as it runs."


def _change(kept: Candidate, winner: Candidate, criterion: Criterion) -> str:
    """Return what a model service changes in one of the times until something is there; "" if that was not measured."""
    if criterion.key not in {"results_ms", "total_ms"}:
        return ""
    summaries = [candidate.find(criterion.key, criterion.scenarios) for candidate in (kept, winner)]
    if None in summaries or len({summary.cell.scenario_label for summary in summaries if summary}) > 1:
        return ""
    after, before = (
        METRICS_BY_KEY[criterion.key].show(summary.median(criterion.key)) for summary in summaries if summary
    )
    return f"{_CLAUSES[criterion.key].format(after)} (with {winner.name} {before})"


def describe_step(step: Step) -> str:
    """Return what a step found."""
    name = _step_name(step)
    if step.skipped:
        return f"{name}: not measured."
    if step.criterion.key == COSINE:
        text = f"{name}: at least {EXACT:.5f} is wanted."
        if not step.lost:
            return f"{text} All have it."
    else:
        text = f"{name}: best {step.best}, {show(step, step.best_value)}."
        if not step.lost:
            return f"{text} None of the others can be told apart from it."
    out = "; ".join(f"{loss.name}, {show(step, loss.value)}{_ratio(loss)}" for loss in step.lost)
    return f"{text} Out: {out}. Left: {join(step.left) if step.left else 'none'}."


def key_figures(candidate: Candidate) -> str:
    """Return what a candidate costs, and its ratio to plain sentence-transformers where that was measured."""
    found = figures(candidate)
    ratio = f" ({show_ratio(found.ratio.median)} of plain sentence-transformers)" if found.ratio else ""
    told = {
        "results_ms": ("results after {}", found.results_ms),
        "total_ms": (f"first vector after {{}}{ratio}", found.total_ms),
        "init_ms": ("init {}", found.init_ms),
        "first_embedding_ms": ("wait once ready {}", found.wait_ms),
        "peak_mib": ("peak {}", found.peak_mib),
    }
    parts = [text.format(METRICS_BY_KEY[key].show(value)) for key, (text, value) in told.items() if value is not None]
    if found.cosine is not None:
        parts.append(f"lowest cosine {show_cosine(found.cosine)}")
    return ", ".join(parts)


def show(step: Step, value: float | None) -> str:
    """Return a value of a step with its unit."""
    if value is None:
        return "not measured"
    return show_cosine(value) if step.criterion.key == COSINE else METRICS_BY_KEY[step.criterion.key].show(value)


def show_cosine(value: float) -> str:
    """Return a cosine, never rounded up: 0.999989 is not 0.99999."""
    return f"{math.floor(value * 1e5 + 1e-6) / 1e5:.5f}"


def join(parts: Sequence[str]) -> str:
    """Return a list in words: a; a and b; a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _clause(found: Recommendation, step: Step) -> str:
    """Return what a step says of the winner, with the closest of those that it eliminated."""
    if step.criterion.key == COSINE:
        text, other = "its vectors are as exact as the original's", "not those of {}: lowest cosine {}"
    else:
        scenario, other = step.scenario.partition(" ")[0], "measurably worse: {}, {}"
        text = _CLAUSES[step.criterion.key].format(show(step, found.value(step)), _WHEN.get(scenario, "")).strip()
    measured = [loss for loss in step.lost if loss.value is not None]
    if measured:
        notes = [other.format(measured[0].name, show(step, measured[0].value))]
        if found.winner and step.best not in {"", found.winner.name} and step.criterion.key != COSINE:
            notes.insert(0, f"best: {step.best}, {show(step, step.best_value)}, a difference within the noise")
        return f"{text} ({'; '.join(notes)})"
    if step.lost:
        return f"{text} (not measured: {join([loss.name for loss in step.lost])})"
    if found.winner and step.best != found.winner.name:
        return f"{text} (best: {step.best}, {show(step, step.best_value)}, a difference within the noise)"
    return text


def _costs(found: Recommendation, winner: Candidate) -> list[str]:
    """Return what the winner costs in vectors and, where only memory was looked at, before the program goes on."""
    told, is_small = [], found.use.key == "small_machine"
    if winner.cosine is not None and winner.cosine < EXACT:
        told.append(
            f"Its vectors are not quite the original's (lowest cosine of the samples {show_cosine(winner.cosine)})"
        )
    elif is_small:
        compared = "were not compared with" if winner.cosine is None else "are as exact as"
        told.append(f"Its vectors {compared} the original's")
    init_ms = figures(winner).init_ms
    if is_small and init_ms is not None:
        told.append(f"The caller is blocked for {METRICS_BY_KEY['init_ms'].show(init_ms)}")
    return told + _together(found, winner) if is_small else told


def _together(found: Recommendation, winner: Candidate) -> list[str]:
    """Return who takes less than the winner where several processes use the model, if anybody does."""
    measured = {
        candidate.name: (value, summary.cell.processes)
        for candidate in found.candidates
        if (summary := candidate.find("together_mib", ("concurrent",))) and (value := summary.median("together_mib"))
    }
    if winner.name not in measured:
        return []
    best = min(measured, key=lambda name: measured[name])
    if best == winner.name:
        return []
    show = METRICS_BY_KEY["together_mib"].show
    value, processes = measured[best]
    return [f"But {processes} processes together take {show(measured[winner.name][0])}, and with {best} {show(value)}"]


def _step_name(step: Step) -> str:
    if step.criterion.key == COSINE:
        return "Lowest cosine with the original's vectors"
    title = METRICS_BY_KEY[step.criterion.key].title
    return f"{title} in {step.scenario or ' or '.join(step.criterion.scenarios)}"


def _ratio(loss: Loss) -> str:
    if loss.ratio is None or math.isinf(loss.ratio):
        return ""
    if loss.interval is None or math.isinf(loss.interval.high):
        return f" ({show_ratio(loss.ratio)})"
    return f" ({show_ratio(loss.ratio)}; {show_ratio(loss.interval.low)} to {show_ratio(loss.interval.high)})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
