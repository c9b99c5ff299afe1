"""How the recommendation was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.metrics import FLOORS, METRICS_BY_KEY
from bench.report.choice.candidates import choices, where_of
from bench.report.choice.reasons import MARGIN_SHOWN, describe_step, join, key_figures, show_cosine
from bench.report.choice.recommend import ALIKE, CONFIDENCE, EXACT, OWN_CONFIDENCE, recommend
from bench.report.document import Prose, Section, escape

if TYPE_CHECKING:
    from bench.report.choice.candidates import Candidate
    from bench.report.choice.recommend import Recommendation
    from bench.stats.context import Context

METHOD = "\n".join(
    [
        "1. A service and a test suite need the original's vectors: a strategy whose lowest cosine is below "
        f"{show_cosine(EXACT)} is excluded.",
        "2. One figure decides for each use. The default is compared with every other strategy, by the ratio of their "
        "figures in the same round (Hodges-Lehmann estimate, exact Wilcoxon interval).",
        "3. Another strategy is better if, over the whole joint interval, the default takes at least "
        f"{MARGIN_SHOWN} more, and at least {FLOORS['ms']:g} ms or {FLOORS['MiB']:g} MiB more. If none is better, the "
        "default is recommended. Otherwise the first better one becomes the one to beat, and so on.",
        "",
        f"The joint intervals of a use hold together with {CONFIDENCE * 100:.0f} % confidence (Bonferroni), so more "
        "strategies need more rounds. Whatever does not replace the default is described by an interval of its own, "
        f"with {OWN_CONFIDENCE * 100:.0f} % confidence: strategies are *statistically tied* if that includes 1, or if "
        f"they differ by less than {(ALIKE - 1) * 100:.0f} %, {FLOORS['ms']:g} ms or {FLOORS['MiB']:g} MiB. In "
        "parentheses: the ratio to the strategy to beat, and its own interval.",
    ]
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run that has no choice to explain."""
    found = choices(context)
    explained = [
        Prose(_steps(each, each.winner, where_of(choice) if len(found) > 1 else ""))
        for choice in found
        if len(choice.candidates) > 1
        for each in recommend(choice)
        if each.winner
    ]
    return Section("The recommendation, step by step", (Prose(METHOD), *explained)) if explained else None


def _steps(found: Recommendation, winner: Candidate, where: str) -> str:
    """Return how it was found, as a list."""
    head = f"**{found.use.title}**{f', {escape(where)}' if where else ''} ({found.use.meaning}):"
    lines = []
    if found.inexact:
        out = [
            f"{name} ({'not compared' if cosine is None else show_cosine(cosine)})" for name, cosine in found.inexact
        ]
        lines.append(f"- Vectors differ from the original's: {escape(join(out))}.")
    if found.unmeasured:
        lines.append(f"- Not measured: {escape(join(found.unmeasured))}.")
    if found.criterion:
        title = f"{METRICS_BY_KEY[found.criterion.key].title} in {found.scenario}"
        lines += [f"- {escape(title)}. To beat: {escape(describe_step(found, step))}" for step in found.steps]
    lines.append(f"- Recommended: **{escape(winner.name)}**: {escape(key_figures(winner))}.")
    return "\n".join([head, "", *lines])
