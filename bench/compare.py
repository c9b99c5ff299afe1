"""``python -m bench.compare BASE HEAD``: what changed from one run to another, on the same machine.

``bench.comparison`` decides; here are the command line and what is shown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.comparison import FLOORS, Criteria, compare
from bench.conditions import IncomparableError
from bench.environment import read_manifest
from bench.errors import EXIT_HARNESS, EXIT_INCOMPARABLE, BenchError, RecordError
from bench.metrics import METRICS_BY_KEY
from bench.report.changes import TABLES, full_name, headline, notes, to_json, to_report
from bench.report.context import load_context
from bench.run import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.comparison import Comparison
    from bench.report.context import Context

SHAPES: dict[str, type | tuple[type, ...]] = {
    "environments": dict,
    "cells": list,
    "variables": dict,
    "protocol": (dict, type(None)),
    "merged": (list, type(None)),
}
"""What of a manifest is read here, and of which type it is."""


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
            name = full_name(gap.cell.label(), gap.machine)
            sys.stderr.write(f"error: {name} has samples in BASE and none in HEAD: {gap.message}\n")


if __name__ == "__main__":
    raise SystemExit(main())
