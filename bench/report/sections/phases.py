"""What a process does, phase by phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.metrics import METRICS_BY_KEY, PHASES
from bench.plan.cell import EMPTY
from bench.report.choice.candidates import choices, where_of
from bench.report.choice.reasons import join
from bench.report.choice.recommend import recommend
from bench.report.choice.uses import ANY
from bench.report.document import Prose, Section, Table, escape
from bench.report.profiles import imports_of_cell
from bench.report.tables import cells_by_model, shown, started

if TYPE_CHECKING:
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary

NOTE = "Medians of each phase, in order, and of the whole process, timed from outside."

PHASES_IN_WORDS = {
    "python_ms": "starting Python {}",
    "init_ms": "init {}, which blocks the program",
    "ready_ms": "loading {}, in the background",
    "first_embedding_ms": "the first request {}",
}
"""What a start is made of, in order."""

FLOORS = {"import_numpy": "a process that only imports NumPy", EMPTY: "an empty Python program"}
"""What embeds nothing, in words."""

SHOWN_PACKAGES = 2
"""How many packages are named."""

TITLE = "Phases (ms)"


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without such scenarios."""
    keys = (*PHASES, "process_ms", "cpu_s")
    headings = ("Strategy", *(METRICS_BY_KEY[key].title for key in keys[:-1]), "CPU (s)")
    tables = []
    for name, summaries in cells_by_model(context, started(context)):
        rows = tuple(
            (
                context.name(summary, summaries),
                *(shown(summary, key) for key in keys),
            )
            for summary in summaries
        )
        tables.append(Table(f"{TITLE}: {name}" if name else TITLE, headings, rows))
    told = _in_words(context)
    return Section(TITLE, (*([Prose(told)] if told else []), *tables, Prose(NOTE))) if tables else None


def _in_words(context: Context) -> str:
    """Return where the time of the strategy for a command line tool goes; "" if no strategy has been measured so."""
    choice = next((each for each in choices(context) if each.candidates), None)
    winner = recommend(choice)[0].winner if choice else None
    summary = winner.find("total_ms", ANY) if winner else None
    if choice is None or winner is None or summary is None:
        return ""
    show = METRICS_BY_KEY["total_ms"].show
    phases = [
        text.format(show(value)) for key, text in PHASES_IN_WORDS.items() if (value := summary.median(key)) is not None
    ]
    text = f"**{escape(winner.name)}, {escape(where_of(choice))}**: {', then '.join(phases)}."
    floors = [
        f"{name} takes {show(found)}"
        for subject, name in FLOORS.items()
        if (found := _floor(context, summary, subject)) is not None
    ]
    if floors:
        text += f" The total is {show(summary.median('total_ms'))}; {join(floors)}."
    return text + _packages(context, summary)


def _floor(context: Context, summary: CellSummary, subject: str) -> float | None:
    """Return how long a process takes that embeds nothing, if that was measured in the same rounds."""
    for other in context.measured:
        is_beside = (other.cell.reference, other.machine) == (summary.cell.reference, summary.machine)
        if other.cell.subject == subject and is_beside:
            return other.median("total_ms")
    return None


def _packages(context: Context, summary: CellSummary) -> str:
    """Return which packages the import time goes to, if that was recorded."""
    found = imports_of_cell(context, summary)
    total = sum(found.values())
    if total <= 0:
        return ""
    largest = sorted(found, key=lambda name: (-found[name], name))[:SHOWN_PACKAGES]
    return f" Its imports: {join([f'{escape(name)} {100 * found[name] / total:.0f} %' for name in largest])}."
