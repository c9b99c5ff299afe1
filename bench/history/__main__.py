"""``python -m bench.history DIR...``: how runs of one machine develop over commits."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.merging import replacing
from bench.data.metrics import METRICS_BY_KEY
from bench.history.data import to_json
from bench.history.find import find_runs
from bench.history.order import group_runs
from bench.history.page import notes, sheet_table, summary, to_document
from bench.history.picture import draw
from bench.history.sheets import make_history
from bench.programs import at_least_one, new_parser, run_main
from bench.report.markdown import render
from bench.report.saving import save
from bench.report.terminal import show_tables
from bench.stats.comparison import Criteria

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.history.sheets import History

OUTPUT = Path("reports") / "history"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the history named on the command line."""
    asked = _parse(arguments)
    found = find_runs(asked.folders)
    for sentence in found.left_out:
        sys.stderr.write(f"warning: {sentence}\n")
    history = make_history(
        group_runs(found.runs, asked.last),
        Criteria(tolerance=asked.tolerance),
        found.left_out,
        metrics=asked.metric or (),
        cells=asked.cells,
        absolute=asked.absolute,
    )
    _write(history, asked.output)
    _show(history, asked.output / "history.md", quiet=asked.quiet)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = new_parser("history")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a run, or one with runs")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="output (default: %(default)s)")
    parser.add_argument(
        "--metric",
        action="append",
        choices=METRICS_BY_KEY,
        metavar="KEY",
        help="draw this metric, such as init_ms or peak_mib; may be repeated (default: what a cell is judged by)",
    )
    parser.add_argument(
        "--cells", metavar="GLOB", help="cells by label (default: the loader's cells in the scenario idle)"
    )
    parser.add_argument("--last", type=at_least_one, metavar="N", help="only the last N commits of each group")
    parser.add_argument("--absolute", action="store_true", help="plain times, even if all runs have a reference")
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=Criteria.tolerance,
        help="relative change that gets no mark (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="only print errors, warnings and where the report is")
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise ValueError(text)
    return value


def _write(history: History, output: Path) -> None:
    (output / "plots").mkdir(parents=True, exist_ok=True)
    for sheet in history.sheets:
        save(draw(sheet, history.criteria.tolerance), output / "plots", sheet.file)
    data = json.dumps(to_json(history), indent=2, sort_keys=True, allow_nan=False)
    for name, text in (("history.json", data + "\n"), ("history.md", render(to_document(history)))):
        with replacing(output / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _show(history: History, report: Path, *, quiet: bool) -> None:
    if not quiet:
        lines = [summary(history), *(f"- {note}" for note in notes(history))]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    show_tables([sheet_table(sheet) for sheet in history.sheets], report, quiet=quiet)


if __name__ == "__main__":
    run_main(main)
