"""What else the machine did, and which samples it disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section, Table, escape

if TYPE_CHECKING:
    from bench.data.records import Record
    from bench.report.document import Block
    from bench.stats.context import Context

_SHARES = {
    "foreign_cpu": "processors used by other processes",
    "steal": "processors taken by other machines",
    "cpu_pressure": "time something waited for a processor",
    "io_pressure": "time something waited for storage",
    "memory_pressure": "time something waited for memory",
}


def render(context: Context) -> Section | None:
    """Return the section; nothing where the noise was not recorded."""
    timed = [record for record in context.records if not record.instrument and record.noise]
    if not timed:
        return None
    disturbed = [record for record in timed if record.contamination]
    warm_ups = sum(record.is_warmup for record in disturbed)
    counted = sum(bool(record.contamination) for record in context.chosen)
    again = sum(record.attempt > 0 for record in timed)
    told = f"Other work on the machine disturbed none of {len(timed)} samples."
    if disturbed:
        told = (
            f"Other work on the machine disturbed {len(disturbed)} of {len(timed)} samples. {warm_ups} of these are "
            f"warm-ups, which never count. {counted} count, because every attempt was disturbed. "
            f"{len(disturbed) - warm_ups - counted} do not count. {again} samples were taken again."
        )
    blocks: list[Block] = [Prose(told), _table(timed)]
    if disturbed:
        last = disturbed[-1]
        which = f"{escape(context.name(last))}, round {last.round}"
        blocks.append(Prose(f"The last disturbed sample ({which}): {escape(last.contamination)}."))
    return Section("Noise", tuple(blocks))


def _table(timed: list[Record]) -> Table:
    rows = []
    for key, meaning in _SHARES.items():
        values = sorted(record.noise[key] for record in timed if key in record.noise)
        if values:
            rows.append((meaning, f"{values[len(values) // 2]:.1%}", f"{values[-1]:.1%}"))
    return Table("Noise", ("Share of", "Median sample", "Worst sample"), tuple(rows))
