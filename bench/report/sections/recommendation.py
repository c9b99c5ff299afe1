"""Which strategy suits which use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.candidates import choices
from bench.report.document import Prose, Section, Table, escape
from bench.report.reasons import cost_in_memory, join, kept_loaded, sentence
from bench.report.recommend import recommend
from bench.report.uses import USES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.candidates import Choice
    from bench.report.context import Context
    from bench.report.document import Block
    from bench.report.recommend import Recommendation

TITLE = "Recommendation"
CALLED_OFTEN = "**For a command that is called again and again**"

_METHOD = (
    "The records decide: for each use, the strategy with the best median of the most important figure stays, and with "
    "it every other that cannot be told apart from it; then the next figure decides among these. Of those left at the "
    "end, the simplest is named. *The recommendation, step by step* has all of it. Another machine or model may give "
    "other answers."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without a cell of the loader."""
    found = choices(context)
    if not found:
        return None
    blocks: list[Block] = []
    for choice in found:
        where, recommended = where_of(choice) if len(found) > 1 else "", recommend(choice)
        reason = _nothing_to_choose(choice, recommended)
        if reason:
            blocks.append(Prose(f"{escape(where)}: {reason}" if where else _capital(reason)))
        else:
            blocks.append(recommendation_table(f"{TITLE}: {where}" if where else TITLE, recommended))
            kept = kept_loaded(choice, recommended[0])
            if kept:
                blocks.append(Prose(f"{CALLED_OFTEN}: {escape(kept)}"))
    if any(isinstance(block, Table) for block in blocks):
        blocks.append(Prose(_METHOD))
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


def recommendation_table(title: str, recommended: Sequence[Recommendation]) -> Table:
    """Return what suits each use, and why."""
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


def where_of(choice: Choice) -> str:
    """Return which model and machine a choice is about."""
    return ", ".join(part for part in (choice.model_key, choice.machine_name) if part)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
