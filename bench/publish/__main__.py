"""The command line of ``bench.publish``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import EXIT_OK, EXIT_REGRESSION
from bench.programs import new_parser, run_main
from bench.publish.drawing import build
from bench.publish.files import generated
from bench.publish.packing import pack, unpacked
from bench.publish.reports import Reports

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> int:
    """Write or check what is generated and return the exit code."""
    parser = new_parser("publish")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file differs")
    what.add_argument(
        "--uncommitted",
        action="store_true",
        help="write only what is not committed: the reports in HTML, and pictures that no page shows",
    )
    parser.add_argument(
        "--root", type=Path, default=Path.cwd(), metavar="DIR", help="the checkout; default: where you are"
    )
    asked = parser.parse_args()
    reports = Reports(asked.root.resolve())
    if asked.uncommitted:
        _tell(build(reports, committed=False))
        return EXIT_OK
    differing = [(path, text) for path, text in generated(reports) if not is_there(path, text)]
    plain = unpacked(reports.records)
    if asked.check:
        complaints = [f"{path} differs from the records" for path, _ in differing]
        complaints += [f"{path} is not compressed" for path in plain]
        for complaint in complaints:
            sys.stdout.write(f"{complaint}: run python -m bench.publish\n")
        return EXIT_REGRESSION if complaints else EXIT_OK
    for path, text in differing:
        path.write_text(text, encoding="utf-8")
    _tell([path for path, _ in differing])
    _tell(build(reports, committed=True))
    _tell([pack(path) for path in plain])
    return EXIT_OK


def _tell(paths: Iterable[Path]) -> None:
    """Say which files were written."""
    for path in paths:
        sys.stdout.write(f"{path}\n")


def is_there(path: Path, text: str) -> bool:
    """Whether a file has this text."""
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    run_main(main)
