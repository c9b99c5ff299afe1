"""``python -m bench.report RUN... [--output DIR]``: a report from the records of one run, or of several together.

It is report.md, report.html and plots/. Nothing is measured, and the same records give the same bytes. Runs of
different machines stay apart; a run of suite=quality adds how good the vectors are.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import ConfigError
from bench.programs import new_parser, run_main
from bench.progress import announce


def main() -> None:
    """Write the report of the runs that the command line names."""
    parser = new_parser("report", __doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run; at most one of suite=quality"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the report (default: the run's own, if there is only one)"
    )
    parser.add_argument("--without-flame-graphs", action="store_true", help="leave out links to flamegraphs/")
    parser.add_argument("--quiet", action="store_true", help="print only errors and the path of the report")
    asked = parser.parse_args()
    write(asked.runs, asked.output, flame_graphs=not asked.without_flame_graphs, quiet=asked.quiet)


def write(runs: list[Path], output: Path | None, *, flame_graphs: bool, quiet: bool) -> None:
    """Write the report and show its tables.

    Raises:
        ConfigError: the runs do not belong together, or their report has no folder.
        RecordError: a folder holds no run that this version can read.
    """
    if output is None and len(runs) > 1:
        raise ConfigError("A report of several runs needs a folder: add --output DIR")
    from bench.report import gather
    from bench.report.making import show, write_report
    from bench.report.quality import report as quality

    folder = output or runs[0]
    if len(runs) == 1 and gather.is_quality(runs[0]):
        quality.present_in(folder, runs[0], quiet=quiet)
        return
    announce("reading the records, drawing the pictures", quiet=quiet)
    context = gather.gather(runs, folder, flame_graphs=flame_graphs)
    show(context, write_report(context, folder), quiet=quiet)


if __name__ == "__main__":
    run_main(main)
