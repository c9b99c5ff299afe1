"""Which strategy suits which use, and how that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.candidates import choices
from bench.report.document import Prose, Section, Table, escape
from bench.report.reasons import cost_in_memory, describe_step, join, key_figures, sentence
from bench.report.recommend import ALIKE, recommend
from bench.report.uses import USES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.candidates import Candidate, Choice
    from bench.report.context import Context
    from bench.report.document import Block
    from bench.report.recommend import Recommendation

TITLE = "Recommendation"

_METHOD = (
    "How this was found: each use has criteria, the most important first. At each, the strategy with the best median "
    "stays, and with it every other that cannot be told apart from it: the 95 % interval of their ratio, formed within "
    f"each round, holds 1; or they differ by at most {(ALIKE - 1) * 100:.0f} %, or by less than 2 ms or 2 MiB. Of "
    "those left at the end, the simplest is named. Below, who was out has the ratio to the best and its interval in "
    "brackets. All of this holds for what was measured here; another machine or model may give other answers."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without a cell of the loader."""
    found = choices(context)
    if not found:
        return None
    blocks: list[Block] = []
    steps: list[Block] = []
    for choice in found:
        where, recommended = _where(choice) if len(found) > 1 else "", recommend(choice)
        reason = _nothing_to_choose(choice, recommended)
        if reason:
            blocks.append(Prose(f"{escape(where)}: {reason}" if where else _capital(reason)))
            continue
        blocks.append(_table(f"{TITLE}: {where}" if where else TITLE, recommended))
        steps += [Prose(_steps(each, each.winner, where)) for each in recommended if each.winner]
    if steps:
        blocks += [Prose(_METHOD), *steps]
    return Section(TITLE, tuple(blocks))


def _nothing_to_choose(choice: Choice, recommended: Sequence[Recommendation]) -> str:
    """Return in Markdown why there is nothing to recommend, or ""."""
    if choice.problem:
        return f"none, because {choice.problem}."
    if len(choice.candidates) == 1:
        return (
            f"none, because only {escape(choice.candidates[0].name)} was measured; a choice needs several strategies."
        )
    if not any(each.winner for each in recommended):
        names = dict.fromkeys(name for use in USES for criterion in use.criteria for name in criterion.scenarios)
        return f"none, because nothing was measured in the scenarios that decide: {escape(join(list(names)))}."
    return ""


def _table(title: str, recommended: Sequence[Recommendation]) -> Table:
    rows = tuple(
        (
            each.use.title,
            each.winner.name if each.winner else "-",
            sentence(each),
            cost_in_memory(each.winner) if each.winner else "-",
        )
        for each in recommended
    )
    return Table(title, ("Use", "Strategy", "Why", "Cost in memory"), rows, names=4)


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


def _where(choice: Choice) -> str:
    return ", ".join(part for part in (choice.model_key, choice.machine_name) if part)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
