"""What changed from one run to another, in words, tables and data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.report.document import Table, escape
from bench.report.markdown import to_markdown
from bench.stats.comparison import MAX_DRIFT, has_drifted

if TYPE_CHECKING:
    from pathlib import Path

    from bench.stats.comparison import Comparison, Difference
    from bench.stats.shifts import Shift

SCHEMA = 1
"""Of the JSON file."""

VERDICTS = {"over": "over its limit", "improved": "improved", "same": "same", "inconclusive": "inconclusive"}
SIDES = {"base": "BASE", "head": "HEAD", "both": "both"}


def headline(comparison: Comparison) -> str:
    """Return the result in one sentence."""
    total = len(comparison.differences)
    counts = [
        f"{len(found)} {words}"
        for verdict, words in VERDICTS.items()
        if (found := comparison.judged(verdict))  # type: ignore[arg-type]
    ]
    return f"{total} figure{'s' if total > 1 else ''} compared: {', '.join(counts)}."


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader must know to take the figures for what they are."""
    found = []
    by_design: dict[str, list[Difference]] = {}
    for difference in comparison.differences:
        by_design.setdefault(difference.samples.design, []).append(difference)
    if "by round" in by_design:
        found.append("The runs are the two arms of one gate, compared round by round.")
    if "by reference" in by_design:
        names = dict.fromkeys(
            each.samples.reference.label() for each in by_design["by reference"] if each.samples.reference
        )
        found.append(f"Times are compared as ratios to those of {', '.join(names)} in the same round.")
    bare = dict.fromkeys(each.cell.label() for each in by_design.get("absolute", []) if each.metric.unit != "MiB")
    if bare:
        found.append(
            f"Drift between the runs is not covered for times of {', '.join(bare)}: the runs have no reference in the "
            "same rounds, so a machine that became slower or faster looks like a change. Measure with baseline=true or "
            "peers=[import_numpy]."
        )
    if any(has_drifted(each.samples) for each in comparison.differences):
        found.append(
            f"A reference moved by more than a factor of {MAX_DRIFT:.2f} between the runs: the machine changed. "
            "Measure both again, one right after the other, or use the gate, which interleaves them."
        )
    found += [f"{sentence}: nothing there is compared." for sentence in comparison.alone]
    share = f"{comparison.criteria.confidence:.0%}"
    found.append(f"The intervals have a joint confidence of {share} (Holm).")
    return found


def difference_table(comparison: Comparison) -> Table:
    """Return what changed."""
    rows = tuple(
        (
            full_name(each.cell.label(), each.machine),
            each.metric.title,
            each.metric.show(each.samples.base_median),
            each.metric.show(each.samples.head_median),
            *_shown(each.shift),
            f"{each.limit:.3f}",
            str(each.shift.n),
            _rounds(each),
            VERDICTS[each.verdict],
        )
        for each in comparison.differences
    )
    headings = ("Cell", "Figure", "Base", "Head", "Ratio", "Interval", "Limit", "n", "Rounds needed", "Verdict")
    return Table("Changes", headings, rows, 2, ("n", "Limit", "Rounds needed"))


def drift_table(comparison: Comparison) -> Table:
    """Return how the references moved."""
    rows = {}
    for each in comparison.differences:
        reference, drift = each.samples.reference, each.samples.drift
        if reference is not None and drift is not None:
            name, moved = full_name(reference.label(), each.machine), "too much" if has_drifted(each.samples) else "-"
            rows[name, each.metric.key] = (name, each.metric.title, *_shown(drift), str(drift.n), moved)
    headings = ("Reference", "Figure", "Ratio", "Interval", "n", "Moved")
    return Table("Drift of the machine between the runs", headings, tuple(rows.values()), 2)


def gap_table(comparison: Comparison) -> Table:
    """Return what cannot be compared."""
    rows = tuple(
        (
            full_name(gap.cell.label(), gap.machine),
            gap.metric.title if gap.metric else "all",
            SIDES[gap.side],
            " ".join(gap.message.split()),
        )
        for gap in comparison.gaps
    )
    return Table("Not compared", ("Cell", "Figure", "Missing in", "Why"), rows, 4)


TABLES = (difference_table, drift_table, gap_table)


def to_report(comparison: Comparison, base: Path, head: Path) -> str:
    """Return everything in Markdown."""
    parts = ["# Comparison", f"From `{base}` to `{head}`. {headline(comparison)}"]
    for table in (make(comparison) for make in TABLES):
        if table.rows:
            parts += [f"## {table.title}", to_markdown(table)]
    parts += ["## Notes", "\n".join(f"- {escape(note)}" for note in notes(comparison))]
    return "\n\n".join(parts) + "\n"


def to_json(comparison: Comparison, base: Path, head: Path) -> dict[str, Any]:
    """Return everything as data; a bound that is not known is null."""
    return {
        "schema": SCHEMA,
        "base": str(base),
        "head": str(head),
        "exit_code": comparison.exit_code,
        "criteria": asdict(comparison.criteria),
        "differences": [_difference_json(each) for each in comparison.differences],
        "gaps": [
            {
                "cell": gap.cell.to_json(),
                "machine": gap.machine,
                "metric": gap.metric.key if gap.metric else None,
                "side": gap.side,
                "message": gap.message,
            }
            for gap in comparison.gaps
        ],
        "alone": list(comparison.alone),
    }


def _difference_json(each: Difference) -> dict[str, Any]:
    samples = each.samples
    return {
        "cell": each.cell.to_json(),
        "machine": each.machine,
        "metric": each.metric.key,
        "design": samples.design,
        "base_median": samples.base_median,
        "head_median": samples.head_median,
        "shift": _shift_json(each.shift),
        "limit": each.limit,
        "verdict": each.verdict,
        "reference": samples.reference.to_json() if samples.reference else None,
        "drift": _shift_json(samples.drift) if samples.drift else None,
        "rounds_needed": each.rounds_needed,
    }


def _shift_json(shift: Shift) -> dict[str, Any]:
    known = math.isfinite(shift.high)
    return asdict(shift) | ({} if known else {"low": None, "high": None})


def _shown(shift: Shift) -> tuple[str, str]:
    interval = f"{shift.low:.3f} to {shift.high:.3f}" if math.isfinite(shift.high) else "-"
    return f"{shift.ratio:.3f}", interval


def _rounds(each: Difference) -> str:
    if each.rounds_needed is None:
        return "-"
    return f"{'about' if math.isfinite(each.shift.high) else 'at least'} {each.rounds_needed}"


def full_name(label: str, machine: str) -> str:
    """Return the name of a cell, with that of its machine where there are several."""
    return f"{label}, {machine}" if machine else label
