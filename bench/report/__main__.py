"""``python -m bench.report RUN... [--output DIR]``: a report from the records of one run, or of several together.

Nothing is measured, and the same records give the same bytes. Runs of different machines stay apart; a run of
suite=quality adds how good the vectors are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import EXIT_HARNESS, EXIT_OK, BenchError, ConfigError
from bench.progress import announce


def main() -> int:
    """Write the report of the runs that the command line names and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description="Write report.md, report.html and plots/ from the records of runs. Nothing is measured.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run; of suite=quality one at most"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the report's folder; without it that of the only run"
    )
    parser.add_argument(
        "--without-flame-graphs", action="store_true", help="no links to flamegraphs/, for a report without that folder"
    )
    parser.add_argument("--quiet", action="store_true", help="only print errors and where the report is")
    asked = parser.parse_args()
    try:
        write(asked.runs, asked.output, flame_graphs=not asked.without_flame_graphs, quiet=asked.quiet)
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    return EXIT_OK


def write(runs: list[Path], output: Path | None, *, flame_graphs: bool, quiet: bool) -> None:
    """Write the report and show its tables.

    Raises:
        ConfigError: the runs do not belong together, or nobody said where their report goes.
        RecordError: a folder holds no run that this version can read.
    """
    if output is None and len(runs) > 1:
        raise ConfigError("Several runs have one report: say where it goes with --output DIR")
    from bench.quality import report as quality
    from bench.report import gather
    from bench.report.making import show, write_report

    folder = output or runs[0]
    if len(runs) == 1 and gather.is_quality(runs[0]):
        quality.present_in(folder, runs[0], quiet=quiet)
        return
    announce("reading the records, drawing the pictures", quiet=quiet)
    context = gather.gather(runs, folder, flame_graphs=flame_graphs)
    show(context, write_report(context, folder), quiet=quiet)


if __name__ == "__main__":
    raise SystemExit(main())
