"""The first screen of a report: one sentence, one picture, one table, and a line for each use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.environment import Environment
from bench.data.fidelity import MIN_COSINE
from bench.data.metrics import METRICS_BY_KEY
from bench.report.choice.candidates import choices, where_of
from bench.report.choice.reasons import capital, deciding_figure, join, kept_loaded, short_reason
from bench.report.choice.recommend import recommend
from bench.report.document import Picture, Prose, Range, Table, dense, escape
from bench.report.first_screen import difference
from bench.report.first_screen.overview import overview, show_memory, show_times
from bench.report.tables import show_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.report.choice.candidates import Choice
    from bench.report.choice.recommend import Recommendation
    from bench.report.document import Block, TableCell
    from bench.report.first_screen.overview import Overview, Row
    from bench.stats.context import Context

PICTURE = "first-vector"
"""Name of the picture, before ``-light`` and ``-dark``."""

CAPTION = "Time to the first vector: with what the loader replaces, and with the loader"


@dataclass(frozen=True)
class Lead:
    """What the first screen is made of, for the first of ``choices``.

    Attributes:
        headline: in Markdown.
        subject: which model, machine and rounds, in Markdown.
        table: None if nothing can stand in one.
        uses: a line for each use; None if there is nothing to choose from.
        notes: sentences in Markdown.
        pictures: text of the SVG files, by name without ending; none if there are not two bars.
    """

    headline: str
    subject: str = ""
    table: Table | None = None
    uses: Table | None = None
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, str] | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The same for Markdown and HTML."""
        blocks: list[Block] = [Prose("\n\n".join(part for part in (f"**{self.headline}**", self.subject) if part))]
        blocks += [self.uses] if self.uses else []
        if self.pictures:
            light, dark = self.pictures
            blocks.append(Picture(light, CAPTION, dark))
        blocks += [self.table] if self.table else []
        if self.notes:
            blocks.append(Prose("\n".join(f"- {note}" for note in self.notes)))
        return tuple(blocks)


def lead(context: Context) -> Lead:
    """Return it."""
    found = choices(context)
    if not context.measured:
        return Lead("No cell has a valid sample: see below.")
    choice = next((each for each in found if each.candidates), next((each for each in found if each.kept), None))
    if choice is None:
        return Lead("No strategy of the loader has a valid sample.", _subject(context, None, None))
    recommended = recommend(choice)
    shown = overview(context, choice)
    row = _named(shown, recommended) if shown else None
    if shown is None or row is None:
        text = "This run does not say how long the first vector takes."
        return Lead(
            text,
            _subject(context, choice, shown),
            None,
            _uses(choice, recommended),
            _notes(context, found, choice, recommended),
        )
    return Lead(
        headline(shown, row),
        _subject(context, choice, shown),
        _table(shown),
        _uses(choice, recommended),
        (*_notes(context, found, choice, recommended), *_reading(shown)),
        _pictures(choice, shown, row),
    )


def headline(found: Overview, row: Row) -> str:
    """Return the one sentence with the one number, in Markdown."""
    before, name = found.reference, escape(row.name)
    memory = "" if row.peak_mib is None else f", in {row.peak_mib:,.0f} MiB of memory"
    if before is None or row.times_faster is None:
        return f"{found.phrase} {_seconds(row.time_ms, row.time_ms)} with {name}{memory}."
    times = row.times_faster
    compared = (
        f"{show_times(times)} times faster than"
        if times > ABOUT_EQUAL
        else f"{show_times(1 / times)} times slower than"
        if times < 1 / ABOUT_EQUAL
        else "about as fast as"
    )
    vectors = {"equal": ", with the same vectors", "8 bits": ", with 8-bit weights"}.get(row.vectors, "")
    if memory and before.peak_mib is not None:
        memory += f", not {before.peak_mib:,.0f}"
    after_s, before_s = _seconds(row.time_ms, before.time_ms), _seconds(before.time_ms, before.time_ms)
    return (
        f"{found.phrase} {after_s} instead of {before_s}: {name} is {compared} sentence-transformers{vectors}{memory}."
    )


ABOUT_EQUAL = 1.05
"""Ratio up to which the headline calls two times about equal."""


def _seconds(time_ms: float, longest_ms: float) -> str:
    """Return a time in the unit of the longest that it is compared with."""
    if longest_ms < 1000 or time_ms < 5:
        return METRICS_BY_KEY["total_ms"].show(time_ms)
    return f"{time_ms / 1000:,.{2 if time_ms < 1000 else 1}f} s"


def _named(found: Overview, recommended: Sequence[Recommendation]) -> Row | None:
    """Return the row of the first strategy that is recommended, or of the fastest one of ours."""
    for each in recommended:
        row = found.find(each.winner.name) if each.winner else None
        if row is not None:
            return row
    ours = [row for row in found.rows if row.kind in {"ours", "service"}]
    return min(ours, key=lambda row: row.time_ms, default=None)


def _subject(context: Context, choice: Choice | None, shown: Overview | None) -> str:
    """Return what was measured, in one line."""
    if choice is None:
        return f"Models: {join([escape(name) for name in context.models]) or 'none'}."
    environment = context.manifest.environments.get(choice.machine, Environment())
    count = environment.processors_usable
    rounds = [row.n for row in shown.rows] if shown else []
    parts = [
        choice.model,
        choice.machine_name,
        environment.processor or "",
        f"{count} processor{'' if count == 1 else 's'}" if count else "",
        f"medians of {span(rounds)} fresh processes" if rounds else "",
    ]
    return f"{', '.join(escape(part) for part in parts if part)}. On your machine: `python -m bench`."


def span(counts: Sequence[int]) -> str:
    """Return the smallest and the largest count, or the only one."""
    return f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def _table(found: Overview) -> Table:
    """Return the rows, each interval drawn on one logarithmic scale."""
    place = _scale([value for row in found.rows if row.interval for value in (row.interval.low, row.interval.high)])
    show = METRICS_BY_KEY[found.key].show

    def drawn(row: Row) -> TableCell:
        if row.interval is None or place is None:
            return "-"
        text = show_interval(row.interval, lambda value: show(value, unit=False))
        return Range(text, place(row.interval.low), place(row.interval.high))

    rows = tuple(
        (
            row.name,
            show(row.time_ms, unit=False),
            drawn(row),
            show_times(row.times_faster),
            show_memory(row),
            row.vectors,
        )
        for row in found.rows
    )
    headings = ("Strategy", found.heading, "95 % interval", "Times faster", "Peak (MiB)", "Vectors")
    return dense(Table("", headings, rows, details=("Vectors", "95 % interval")))


def _reading(found: Overview) -> Iterator[str]:
    """Yield how to read the table, in one note."""
    told = []
    if any(row.vectors == "equal" for row in found.rows):
        told.append(f"*Equal*: a cosine of at least {MIN_COSINE['float32']} with plain sentence-transformers' vectors.")
    if any(row.interval for row in found.rows):
        told.append("The bars are 95 % confidence intervals of the median, on a logarithmic scale.")
    if told:
        yield " ".join(told)


def _scale(values: Sequence[float]) -> Callable[[float], float] | None:
    """Return where a value lies between the smallest and the largest, on a logarithmic scale; None without one."""
    if not values or min(values) <= 0 or min(values) == max(values):
        return None
    low, high = math.log(min(values)), math.log(max(values))
    return lambda value: (math.log(value) - low) / (high - low)


def _uses(choice: Choice, recommended: Sequence[Recommendation]) -> Table | None:
    """Return a line for each use."""
    if len(choice.candidates) < 2:
        return None
    rows = tuple(
        (each.use.title, each.winner.name, capital(f"{deciding_figure(each)}; {short_reason(each)}"))
        if each.winner
        else (each.use.title, "-", capital(each.problem))
        for each in recommended
    )
    return Table("", ("Use", "Strategy", "Why"), rows, names=3)


def _notes(
    context: Context, found: Sequence[Choice], choice: Choice, recommended: Sequence[Recommendation]
) -> tuple[str, ...]:
    """Return what else belongs on the first screen, in Markdown."""
    kept = kept_loaded(choice, recommended[0])
    missing = sum(not summary.spreads for summary in context.summaries)
    others = [where for each in found if each is not choice and (where := where_of(each))]
    return tuple(
        note
        for note in (
            f"Called repeatedly? {escape(kept)}" if kept else "",
            f"Also measured: {escape(join(others))}; see *Recommendation*." if others else "",
            f"{missing} of {len(context.summaries)} combinations gave no valid sample; see *Fidelity*."
            if missing
            else "",
        )
        if note
    )


def _pictures(choice: Choice, found: Overview, row: Row) -> Mapping[str, str] | None:
    """Return the picture: what the loader replaces, the strategy of the headline, and the service."""
    rows = [each for each in found.rows if each is row or each.kind in {"reference", "peer", "service"}]
    if len(rows) < 2:
        return None
    return difference.draw(found, rows, choice.model.rpartition("/")[2] or choice.model, PICTURE)
