"""Which strategy suits which use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.choice.candidates import choices, where_of
from bench.report.choice.reasons import MARGIN_SHOWN, capital, cost_in_memory, join, kept_loaded, sentence
from bench.report.choice.recommend import recommend
from bench.report.choice.uses import USES
from bench.report.document import Prose, Section, Table, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.choice.candidates import Choice
    from bench.report.choice.recommend import Recommendation
    from bench.report.document import Block
    from bench.stats.context import Context

TITLE = "Recommendation"
CALLED_OFTEN = "**Called repeatedly?**"

_METHOD = (
    "Each use has a default. Another strategy is recommended only if its whole confidence interval shows that it is "
    f"better by more than {MARGIN_SHOWN}; otherwise noise would change the advice from run to run. *The "
    "recommendation, step by step* has the figures. Results may differ on another machine or with another model."
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
            blocks.append(Prose(f"{escape(where)}: {reason}" if where else capital(reason)))
        else:
            blocks.append(recommendation_table(f"{TITLE}: {where}" if where else TITLE, recommended))
            kept = kept_loaded(choice, recommended[0])
            if kept:
                blocks.append(Prose(f"{CALLED_OFTEN} {escape(kept)}"))
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
        return f"none, because no scenario that decides was measured: {escape(join(list(names)))}."
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
    return Table(title, ("Use", "Strategy", "Why", "Memory"), rows, names=4)
