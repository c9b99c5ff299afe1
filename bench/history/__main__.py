"""``python -m bench.history DIR...``: how runs of one machine develop over commits."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.comparison import Criteria
from bench.errors import EXIT_HARNESS, EXIT_OK, BenchError
from bench.history.data import to_json
from bench.history.find import find_runs
from bench.history.order import group_runs
from bench.history.page import notes, sheet_table, summary, to_document
from bench.history.picture import draw
from bench.history.sheets import make_history
from bench.merge import replacing
from bench.metrics import METRICS_BY_KEY
from bench.report.markdown import render
from bench.report.saving import save
from bench.report.terminal import show_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.history.sheets import History

OUTPUT = Path("reports") / "history"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the history that the command line asks for and return the exit code."""
    asked = _parse(arguments)
    try:
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
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    _show(history, asked.output / "history.md", quiet=asked.quiet)
    return EXIT_OK


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.history",
        description="How runs of one machine develop over commits: tables and pictures.",
        epilog="Exit codes: 0 drawn; 2 there is no run, or nothing of what was asked for. Nothing is judged.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a run, or of folders of runs")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="where it goes (%(default)s)")
    parser.add_argument(
        "--metric",
        action="append",
        choices=METRICS_BY_KEY,
        metavar="KEY",
        help="draw this metric, such as init_ms or peak_mib; may be repeated (default: what a cell is judged by)",
    )
    parser.add_argument(
        "--cells", metavar="GLOB", help="cells by their labels (default: those of the loader in the scenario idle)"
    )
    parser.add_argument("--last", type=_positive, metavar="N", help="only the last N commits of each group")
    parser.add_argument("--absolute", action="store_true", help="plain times, even where all runs have a reference")
    parser.add_argument(
        "--tolerance", type=_share, default=Criteria.tolerance, help="share that no mark is made for (%(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="only print errors, warnings and where the report is")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


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
    raise SystemExit(main())
