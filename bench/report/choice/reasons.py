"""Why a strategy is recommended, in words. Names come as they are: what puts them into prose has to escape them.

Each text is a template written by hand; the records only fill in names and figures.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from bench.data.metrics import METRICS_BY_KEY, MIB
from bench.report.choice.candidates import figures
from bench.report.choice.recommend import EXACT, MARGIN, OWN_ALPHA
from bench.report.tables import show_ratio
from bench.stats.shifts import fewest_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.choice.candidates import Candidate, Choice
    from bench.report.choice.recommend import Recommendation, Rival, Step

_FIGURES = {
    ("results_ms", "search_command"): "first result after {}",
    ("total_ms", "at_once"): "first vector after {}",
    ("total_ms", "idle"): "first vector after {}",
    ("first_embedding_ms", "idle"): "first request, once the model is loaded, takes {}",
    ("first_embedding_ms", "think_time"): "first request, after other work, takes {}",
}
"""What a deciding figure says, by metric and scenario; of memory it is ``_PEAK``."""

_PEAK = "peak memory {}"

MARGIN_SHOWN = f"{(MARGIN - 1) * 100:.0f} %"


def deciding_figure(found: Recommendation) -> str:
    """Return the winner's figure that decides, in words."""
    if found.criterion is None:
        return ""
    text = _FIGURES.get((found.criterion.key, found.scenario.partition(" ")[0]), _PEAK)
    return text.format(show(found, found.value))


def short_reason(found: Recommendation) -> str:
    """Return in half a sentence why the winner is named."""
    if not found.steps:
        return found.problem
    first, last = found.steps[0], found.steps[-1]
    if len(found.steps) > 1:
        also = f", statistically tied with {join(last.names('tied'))}" if last.names("tied") else ""
        return f"measurably better than {first.holder} ({show(found, first.value)}){also}"
    if not first.rivals:
        return "the only one to choose from"
    tied, unknown = first.names("tied"), first.names("unknown")
    ahead = [rival for rival in first.rivals if rival.verdict == "ahead"]
    if unknown and not (tied or ahead or first.names("worse")):
        count = max(rival.n for rival in first.rivals)
        return f"{_standing(found)}; too few rounds for an interval ({count} of {fewest_pairs(OWN_ALPHA)})"
    if not (tied or ahead or unknown):
        return "measurably the best"
    told = [f"{_standing(found)}, statistically tied with {join(tied)}" if tied else _standing(found)]
    early = [rival for rival in ahead if rival.n < found.rounds_needed]
    close = [rival.name for rival in ahead if rival not in early]
    if close:
        told.append(f"{join(close)} better, but perhaps by less than {MARGIN_SHOWN}")
    if early:
        names, count = join([rival.name for rival in early]), max(rival.n for rival in early)
        told.append(f"{names} better, but in too few rounds to be named ({count} of {found.rounds_needed})")
    if unknown:
        told.append(f"too few common rounds to judge {join(unknown)}")
    return "; ".join(told)


def sentence(found: Recommendation) -> str:
    """Return why, with the figure that decides and what speaks against the winner."""
    if found.winner is None:
        return f"{capital(found.problem)}."
    told = [capital(deciding_figure(found)), capital(short_reason(found))]
    rivals = found.steps[0].rivals
    worse = sorted((rival for rival in rivals if rival.verdict == "worse"), key=lambda rival: rival.value)
    if worse and len(worse) == len(rivals):
        told.append(f"Next: {worse[0].name} ({show(found, worse[0].value)})")
    elif worse:
        told.append(f"Measurably worse: {join([f'{rival.name} ({show(found, rival.value)})' for rival in worse])}")
    if found.inexact:
        told.append(f"Vectors equal the original's, unlike those of {join([name for name, _ in found.inexact])}")
    told += _costs(found, found.winner)
    return " ".join(f"{part}." for part in told)


def cost_in_memory(candidate: Candidate) -> str:
    """Return the peak, and how much of the memory is private."""
    found = figures(candidate)
    peak, own = (
        METRICS_BY_KEY["peak_mib"].show(found.peak_mib),
        METRICS_BY_KEY["anonymous_mib"].show(found.anonymous_mib),
    )
    return peak if found.anonymous_mib is None else f"{peak}, {own} of it private"


def kept_loaded(choice: Choice, found: Recommendation) -> str:
    """Return what a model service changes for this use, and its memory; "" if that was not measured."""
    if choice.kept is None or found.winner is None:
        return ""
    changes = [
        change
        for each in found.use.criteria
        if (change := _change(choice.kept, found.winner, each.key, each.scenarios))
    ]
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
    text = f"With the service running: {join(changes)}"
    if "rss_bytes" not in median:
        return f"{text}."
    own = f" ({mib(median['rss_anon_bytes'] / MIB)} private)" if "rss_anon_bytes" in median else ""
    return f"{text}. The service itself takes {mib(median['rss_bytes'] / MIB)}{own}, once for all programs."


def _change(kept: Candidate, winner: Candidate, key: str, scenarios: Sequence[str]) -> str:
    """Return what a model service changes in a time, "" if that was not measured of both."""
    summaries = [summary for each in (kept, winner) if (summary := each.find(key, scenarios))]
    if len(summaries) < 2 or len({summary.cell.scenario_label for summary in summaries}) > 1:
        return ""
    after, before = (METRICS_BY_KEY[key].show(summary.median(key)) for summary in summaries)
    text = _FIGURES.get((key, summaries[0].cell.scenario), "")
    return f"{text.format(after)} ({before} with {winner.name})" if text else ""


def describe_step(found: Recommendation, step: Step) -> str:
    """Return what a comparison found, each rival with its ratio and its interval."""
    groups = {
        f"Better by more than {MARGIN_SHOWN}": step.names("better"),
        f"Better, but not surely by {MARGIN_SHOWN}": step.names("ahead"),
        "Statistically tied": step.names("tied"),
        "Measurably worse": step.names("worse"),
        "Too few rounds to tell": step.names("unknown"),
    }
    rivals = {rival.name: rival for rival in step.rivals}
    told = [
        f"{title}: {'; '.join(f'{name}, {show(found, rivals[name].value)}{_ratio(rivals[name])}' for name in names)}."
        for title, names in groups.items()
        if names
    ]
    return " ".join([f"{step.holder}, {show(found, step.value)}.", *told])


def key_figures(candidate: Candidate) -> str:
    """Return what a candidate costs, and its ratio to plain sentence-transformers if that was measured."""
    found = figures(candidate)
    ratio = f" ({show_ratio(found.ratio.median)} of plain sentence-transformers)" if found.ratio else ""
    told = {
        "results_ms": ("results after {}", found.results_ms),
        "total_ms": (f"first vector after {{}}{ratio}", found.total_ms),
        "init_ms": ("init {}", found.init_ms),
        "first_embedding_ms": ("first request once ready {}", found.wait_ms),
        "peak_mib": ("peak {}", found.peak_mib),
    }
    parts = [text.format(METRICS_BY_KEY[key].show(value)) for key, (text, value) in told.items() if value is not None]
    if found.cosine is not None:
        parts.append(f"lowest cosine {show_cosine(found.cosine)}")
    return ", ".join(parts)


def show(found: Recommendation, value: float | None) -> str:
    """Return a value of the deciding figure with its unit."""
    return METRICS_BY_KEY[found.criterion.key].show(value) if found.criterion else "-"


def show_cosine(value: float) -> str:
    """Return a cosine, never rounded up: 0.999989 is not 0.99999."""
    return f"{math.floor(value * 1e5 + 1e-6) / 1e5:.5f}"


def join(parts: Sequence[str]) -> str:
    """Return a list in words: a; a and b; a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _standing(found: Recommendation) -> str:
    """Return what the holder is: the default, or what stands in for it."""
    return "the default here" if found.is_default else f"in place of the default, {found.use.order[0]}, not measured"


def _costs(found: Recommendation, winner: Candidate) -> list[str]:
    """Return what the winner costs in vectors and, if only memory was looked at, in time."""
    told, is_small = [], found.use.key == "small_machine"
    if winner.cosine is not None and winner.cosine < EXACT:
        told.append(f"Its vectors are close to the original's, not equal (lowest cosine {show_cosine(winner.cosine)})")
    return told + _together(found, winner) if is_small else told


def _together(found: Recommendation, winner: Candidate) -> list[str]:
    """Return which strategy takes less than the winner when several processes use the model, if any does."""
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
    own = show(measured[winner.name][0])
    return [f"But {processes} processes together take {own}, against {show(value)} with {best}"]


def _ratio(rival: Rival) -> str:
    if rival.ratio is None or math.isinf(rival.ratio):
        return ""
    if rival.interval is None:
        return f" ({show_ratio(rival.ratio)})"
    return f" ({show_ratio(rival.ratio)}; {show_ratio(rival.interval.low)} to {show_ratio(rival.interval.high)})"


def capital(text: str) -> str:
    """Return the text with a capital letter in front."""
    return text[:1].upper() + text[1:]
