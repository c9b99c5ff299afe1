"""How the recommendation was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.candidates import choices
from bench.report.document import Prose, Section, escape
from bench.report.reasons import describe_step, key_figures
from bench.report.recommend import ALIKE, recommend
from bench.report.sections.recommendation import where_of

if TYPE_CHECKING:
    from bench.report.candidates import Candidate
    from bench.report.context import Context
    from bench.report.recommend import Recommendation

METHOD = (
    "Each use has figures that count, the most important first. At each, the strategy with the best median stays, and "
    "with it every other that cannot be told apart from it: the 95 % interval of their ratio holds 1 (Hodges and "
    "Lehmann's estimate over the rounds, with Wilcoxon's exact interval); or they differ by at most "
    f"{(ALIKE - 1) * 100:.0f} %, or by less than 2 ms or 2 MiB. Of those left at the end, the simplest is named. Who "
    "was out has the ratio to the best and its interval in brackets."
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
    """Return how it was found: a list, which ends where one is left."""
    head = f"**{found.use.title}**{f', {escape(where)}' if where else ''} ({found.use.meaning}):"
    lines = []
    for step in found.steps:
        lines.append(f"- {escape(describe_step(step))}")
        if len(step.left) == 1:
            break
    simplest = ", the simplest of those left" if found.equals else ""
    lines.append(f"- Named: **{escape(winner.name)}**{simplest}: {escape(key_figures(winner))}.")
    return "\n".join([head, "", *lines])
