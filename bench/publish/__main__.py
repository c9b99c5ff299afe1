"""The command line of ``bench.publish``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import EXIT_HARNESS, EXIT_OK, EXIT_REGRESSION, BenchError
from bench.progress import announce
from bench.publish.files import generated
from bench.publish.reports import REPORTS, Reports
from bench.report.making import write_report


def main() -> int:
    """Write or check what is generated and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.publish",
        description="Make the committed reports, the generated parts of README and docs, and what the loader ships of "
        "the reference report anew from the committed records.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file differs")
    parser.add_argument(
        "--root", type=Path, default=Path.cwd(), metavar="DIR", help="the checkout; default: where you are"
    )
    asked = parser.parse_args()
    reports = Reports(asked.root)
    try:
        differing = [(path, text) for path, text in generated(reports) if not is_there(path, text)]
        if asked.check:
            for path, _ in differing:
                sys.stdout.write(f"{path} differs from the records: run python -m bench.publish\n")
            return EXIT_REGRESSION if differing else EXIT_OK
        for path, text in differing:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path}\n")
        for name in REPORTS:
            announce(f"drawing {name}", quiet=False)
            write_report(reports.contexts[name], reports.folder(name))
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    return EXIT_OK


def is_there(path: Path, text: str) -> bool:
    """Whether a file has this text."""
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
