"""``python -m bench.compare BASE HEAD``: what changed from one run to another, on the same machine.

``bench.stats.comparison`` decides; this is the command line and its output.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.compare.changes import TABLES, full_name, headline, notes, to_json, to_report
from bench.data.metrics import FLOORS, METRICS_BY_KEY
from bench.data.runs import REPORTED
from bench.programs import new_parser, run_main
from bench.stats.comparison import Criteria, compare
from bench.stats.context import load_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stats.comparison import Comparison
    from bench.stats.context import Context


def load_comparable(folder: Path) -> Context:
    """Return a run that may be compared, which needs more than a report: what else was alike.

    Raises:
        BenchError: see ``bench.data.runs.read_run``.
    """
    return load_context(folder, needs=(*REPORTED, "variables"))


def _floor(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    if key not in METRICS_BY_KEY:
        raise argparse.ArgumentTypeError(f"{key!r} is not a metric; choose from {', '.join(METRICS_BY_KEY)}")
    return key, _number(value)


def _number(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise ValueError(text)
    return value


def _confidence(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 0.999999:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.5 and 0.999999")
    return value


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = new_parser("compare")
    floors = ", ".join(f"{value:g} {unit}" for unit, value in FLOORS.items() if unit != "s")
    parser.add_argument("base", type=Path, metavar="BASE", help="folder of the earlier run")
    parser.add_argument("head", type=Path, metavar="HEAD", help="folder of the later run")
    parser.add_argument(
        "--metric",
        action="append",
        choices=METRICS_BY_KEY,
        metavar="KEY",
        help="judge this metric, such as ready_ms; may be repeated (default: each cell's leading metric, init_ms and "
        "peak_mib)",
    )
    parser.add_argument(
        "--tolerance",
        type=_number,
        default=Criteria.tolerance,
        help="relative growth that is tolerated (default: %(default)s)",
    )
    parser.add_argument(
        "--floor",
        action="append",
        type=_floor,
        default=[],
        metavar="KEY=VALUE",
        help=f"growth of a metric that is too small to matter, in its unit; may be repeated (default: {floors})",
    )
    parser.add_argument(
        "--confidence",
        type=_confidence,
        default=Criteria.confidence,
        help="joint confidence of all figures (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a report")
    parser.add_argument("--quiet", action="store_true", help="only print errors, the result and where the report is")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the runs named on the command line, show and write what changed, return the exit code."""
    asked = _parse(arguments)
    criteria = Criteria(
        metrics=tuple(asked.metric or ()),
        tolerance=asked.tolerance,
        floors=dict(asked.floor),
        confidence=asked.confidence,
    )
    comparison = compare(load_comparable(asked.base), load_comparable(asked.head), criteria)
    write_comparison(comparison, asked.base, asked.head, markdown_file=asked.markdown, json_file=asked.json)
    show_comparison(comparison, asked.markdown, quiet=asked.quiet)
    return comparison.exit_code


def write_comparison(
    comparison: Comparison, base: Path, head: Path, *, markdown_file: Path | None, json_file: Path | None
) -> None:
    """Write the requested files."""
    if json_file is not None:
        text = json.dumps(to_json(comparison, base, head), indent=2, allow_nan=False)
        json_file.write_text(text + "\n", encoding="utf-8")
    if markdown_file is not None:
        markdown_file.write_text(to_report(comparison, base, head), encoding="utf-8")


def show_comparison(comparison: Comparison, report: Path | None, *, quiet: bool) -> None:
    """Print the result and, unless ``quiet``, the notes and tables; ``report`` is the file that has them."""
    from bench.report.terminal import show_tables

    sys.stdout.write(f"{headline(comparison)}\n")
    if not quiet:
        sys.stdout.write("\n".join(["", *(f"- {note}" for note in notes(comparison)), ""]))
    sys.stdout.flush()
    show_tables([make(comparison) for make in TABLES], report, quiet=quiet)
    for gap in comparison.gaps:
        if gap.is_loss:
            name = full_name(gap.cell.label(), gap.machine)
            sys.stderr.write(f"error: {name} has samples in BASE but none in HEAD: {gap.message}\n")


if __name__ == "__main__":
    run_main(main)
