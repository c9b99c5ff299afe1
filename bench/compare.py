"""``python -m bench.compare BASE HEAD``: what changed from one run to another, on the same machine.

``bench.comparison`` decides; here are the command line and what is shown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.comparison import FLOORS, MAX_DRIFT, Criteria, compare, has_drifted
from bench.conditions import IncomparableError
from bench.environment import read_manifest
from bench.errors import EXIT_HARNESS, EXIT_INCOMPARABLE, BenchError, RecordError
from bench.metrics import METRICS_BY_KEY
from bench.report.context import load_context
from bench.report.tables import Table, escape, to_markdown
from bench.run import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.comparison import Comparison, Difference
    from bench.report.context import Context
    from bench.shifts import Shift

SCHEMA = 1
"""Of the JSON file."""

SHAPES: dict[str, type | tuple[type, ...]] = {
    "environments": dict,
    "cells": list,
    "variables": dict,
    "protocol": (dict, type(None)),
    "merged": (list, type(None)),
}
"""What of a manifest is read here, and of which type it is."""

VERDICTS = {"over": "over its limit", "improved": "improved", "same": "same", "inconclusive": "inconclusive"}
SIDES = {"base": "BASE", "head": "HEAD", "both": "both"}


def read_run(folder: Path) -> Context:
    """Return a run that may be compared.

    Raises:
        RecordError: the folder holds no run of start-up costs, or a damaged one.
    """
    manifest = read_manifest(folder / MANIFEST_FILE)
    odd = [name for name, shape in SHAPES.items() if not isinstance(manifest.get(name), shape)]
    if not odd:
        odd = [name for name in ("environments", "merged") if not _holds_objects(manifest.get(name))]
    if odd:
        raise RecordError(
            f"{folder / MANIFEST_FILE} is damaged, or not of a run of start-up costs: look at {', '.join(odd)}"
        )
    try:
        return load_context(folder)
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{folder} cannot be read: {error}. Is it the folder of a run of start-up costs?") from error


def _holds_objects(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value or []
    return all(isinstance(item, dict) and isinstance(item.get("packages", {}), dict) for item in items)


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
        found.append("The runs are arms of one gate: their samples are compared round by round.")
    if "by reference" in by_design:
        names = dict.fromkeys(
            each.samples.reference.label() for each in by_design["by reference"] if each.samples.reference
        )
        found.append(f"Times are compared as ratios to those of {', '.join(names)} in the same round.")
    bare = dict.fromkeys(each.cell.label() for each in by_design.get("absolute", []) if each.metric.unit != "MiB")
    if bare:
        found.append(
            f"Drift between the runs is not covered for times of {', '.join(bare)}: both runs have no reference in the "
            "same rounds, so that a machine that became slower or faster looks like a change. Measure with "
            "baseline=true or peers=[import_numpy]."
        )
    if any(has_drifted(each.samples) for each in comparison.differences):
        found.append(
            f"A reference moved by more than a factor of {MAX_DRIFT:.2f} between the runs: the machine was not the "
            "same. Measure both again, one right after the other, or use the gate, which interleaves them."
        )
    found += [f"{sentence}: nothing there is compared." for sentence in comparison.alone]
    share = f"{comparison.criteria.confidence:.0%}"
    found.append(f"Intervals are of {share} confidence for all figures together (Holm).")
    return found


def difference_table(comparison: Comparison) -> Table:
    """Return what changed."""
    rows = tuple(
        (
            _name(each.cell.label(), each.machine),
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
            name, moved = _name(reference.label(), each.machine), "too much" if has_drifted(each.samples) else "-"
            rows[name, each.metric.key] = (name, each.metric.title, *_shown(drift), str(drift.n), moved)
    headings = ("Reference", "Figure", "Ratio", "Interval", "n", "Moved")
    return Table("Drift of the machine between the runs", headings, tuple(rows.values()), 2)


def gap_table(comparison: Comparison) -> Table:
    """Return what cannot be compared."""
    rows = tuple(
        (
            _name(gap.cell.label(), gap.machine),
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


def _name(label: str, machine: str) -> str:
    return f"{label}, {machine}" if machine else label


def _floor(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    if key not in METRICS_BY_KEY:
        raise argparse.ArgumentTypeError(f"{key!r} is no metric; there are {', '.join(METRICS_BY_KEY)}")
    return key, _number(value)


def _number(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise ValueError(text)
    return value


def _confidence(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 0.999999:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.5 to 0.999999")
    return value


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="What changed from one run to another, on the same machine.",
        epilog="Exit codes: 0 nothing is over its limit, 1 something is, 2 a cell or a file is missing, "
        "3 the runs cannot be compared or nothing can be said.",
    )
    floors = ", ".join(f"{value:g} {unit}" for unit, value in FLOORS.items() if unit != "s")
    parser.add_argument("base", type=Path, metavar="BASE", help="folder of the earlier run")
    parser.add_argument("head", type=Path, metavar="HEAD", help="folder of the later run")
    parser.add_argument(
        "--metric",
        action="append",
        choices=METRICS_BY_KEY,
        metavar="KEY",
        help="judge this metric, such as ready_ms; may be repeated (default: what a cell's report leads with, "
        "init_ms and peak_mib)",
    )
    parser.add_argument(
        "--tolerance", type=_number, default=Criteria.tolerance, help="share that a figure may grow (%(default)s)"
    )
    parser.add_argument(
        "--floor",
        action="append",
        type=_floor,
        default=[],
        metavar="KEY=VALUE",
        help=f"growth of a metric that does not matter, in its unit; may be repeated (default: {floors})",
    )
    parser.add_argument(
        "--confidence", type=_confidence, default=Criteria.confidence, help="of all figures together (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a report")
    parser.add_argument("--quiet", action="store_true", help="only print errors, the result and where the report is")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the runs that the command line names, show and write what changed, return the exit code."""
    asked = _parse(arguments)
    criteria = Criteria(
        metrics=tuple(asked.metric or ()),
        tolerance=asked.tolerance,
        floors=dict(asked.floor),
        confidence=asked.confidence,
    )
    try:
        comparison = compare(read_run(asked.base), read_run(asked.head), criteria)
        write_comparison(comparison, asked.base, asked.head, markdown_file=asked.markdown, json_file=asked.json)
        show_comparison(comparison, asked.markdown, quiet=asked.quiet)
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_INCOMPARABLE if isinstance(error, IncomparableError) else EXIT_HARNESS
    return comparison.exit_code


def write_comparison(
    comparison: Comparison, base: Path, head: Path, *, markdown_file: Path | None, json_file: Path | None
) -> None:
    """Write the files that are asked for."""
    if json_file is not None:
        text = json.dumps(to_json(comparison, base, head), indent=2, allow_nan=False)
        json_file.write_text(text + "\n", encoding="utf-8")
    if markdown_file is not None:
        markdown_file.write_text(to_report(comparison, base, head), encoding="utf-8")


def show_comparison(comparison: Comparison, report: Path | None, *, quiet: bool) -> None:
    """Print the result, and unless ``quiet`` the notes and tables; ``report`` is where they are kept."""
    from bench.report.terminal import show_tables

    sys.stdout.write(f"{headline(comparison)}\n")
    if not quiet:
        sys.stdout.write("\n".join(["", *(f"- {note}" for note in notes(comparison)), ""]))
    sys.stdout.flush()
    show_tables([make(comparison) for make in TABLES], report, quiet=quiet)
    for gap in comparison.gaps:
        if gap.is_loss:
            name = _name(gap.cell.label(), gap.machine)
            sys.stderr.write(f"error: {name} has samples in BASE and none in HEAD: {gap.message}\n")


if __name__ == "__main__":
    raise SystemExit(main())
