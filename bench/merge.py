"""``python -m bench.merge RUN... --output DIR``: several runs, of one machine or many, as one."""

from __future__ import annotations

from pathlib import Path

from bench.data.merging import machines, merge, read_parts
from bench.errors import IncomparableError
from bench.programs import new_parser, run_main


def main() -> None:
    """Merge the runs named on the command line and write the report."""
    parser = new_parser("merge")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the new run's folder")
    parser.add_argument("--require-same-machine", action="store_true", help="refuse runs of different machines")
    parser.add_argument("--quiet", action="store_true", help="only print errors and where the report is")
    asked = parser.parse_args()
    names = machines(read_parts(asked.runs)) if asked.require_same_machine else []
    if len(names) > 1:
        raise IncomparableError(f"runs of {len(names)} machines cannot be compared: {', '.join(names)}")
    folder = merge(asked.runs, asked.output)
    from bench.report.making import present

    present(folder, quiet=asked.quiet)


if __name__ == "__main__":
    run_main(main)
