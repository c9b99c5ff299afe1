"""The pages and the pictures of the committed reports."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.load import report as load_report
from bench.progress import announce
from bench.publish.files import shown_pictures
from bench.publish.reports import LOAD_TESTS, REPORTS, SIMULATIONS, STUDY
from bench.report.making import write_report
from bench.studies.power.report import draw_power, read_study

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.publish.reports import Reports


def build(reports: Reports, *, committed: bool) -> list[Path]:
    """Make HTML and pictures of all reports and return the files that changed.

    Args:
        reports: of a checkout.
        committed: whether pictures that are committed are drawn anew as well; the others always are.
    """
    kept = set() if committed else shown_pictures(reports)
    changed = []
    with tempfile.TemporaryDirectory(prefix="bench-publish-") as name:
        drawn = Path(name)
        _draw(reports, drawn)
        for path in _pages_and_pictures(drawn):
            target, content = reports.folder(str(path.relative_to(drawn))), path.read_bytes()
            if target in kept or (target.exists() and target.read_bytes() == content):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            changed.append(target)
    return changed


def _draw(reports: Reports, output: Path) -> None:
    """Write all reports below another folder, laid out as in ``reports``."""
    for name in REPORTS:
        announce(f"drawing {name}", quiet=False)
        write_report(reports.contexts[name], output / name)
    for name in LOAD_TESTS:
        announce(f"drawing {name}", quiet=False)
        load_report.write_report(reports.folder(name), output / name)
    (output / STUDY).mkdir()
    draw_power([(name, read_study(reports.folder(STUDY) / f"{name}.json")) for name in SIMULATIONS], output / STUDY)


def _pages_and_pictures(folder: Path) -> Iterator[Path]:
    """Yield what was drawn; Markdown is among ``bench.publish.files.generated``."""
    for suffix in ("html", "svg", "png"):
        yield from sorted(folder.rglob(f"*.{suffix}"))
