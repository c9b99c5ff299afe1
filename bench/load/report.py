"""Writing the page of a load test from its records alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.folder import MANIFEST_FILE
from bench.data.manifest import read_manifest
from bench.data.merging import replacing
from bench.errors import RecordError
from bench.load.page import LATENCY, THROUGHPUT, to_document
from bench.load.picture import draw_latency, draw_throughput
from bench.load.records import read_memory, read_phases
from bench.load.summary import memory_over_time, ratios, summarise
from bench.report import html, markdown
from bench.report.document import Picture
from bench.report.saving import save
from bench.report.writing import PICTURES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.load.records import MemorySample
    from bench.load.summary import Measured, Memory
    from bench.report.document import Document

PAGE, HTML = "load.md", "load.html"


def make_document(folder: Path) -> Document:
    """Return what the page of a load test shows.

    Raises:
        RecordError: the folder does not hold a load test, or it is damaged.
    """
    document, _ = _read(folder)
    return document


def write_report(folder: Path, output: Path | None = None) -> Document:
    """Write page and pictures, and return what the page shows.

    Args:
        folder: of the records.
        output: where page and pictures go, made if it is missing; None for the folder of the records.

    Raises:
        RecordError: the folder does not hold a load test, or it is damaged.
    """
    document, measured = _read(folder)
    output = output or folder
    plots = output / PICTURES
    plots.mkdir(parents=True, exist_ok=True)
    save(draw_throughput(summarise(measured)), plots, THROUGHPUT)
    save(draw_latency(measured), plots, LATENCY)
    blocks = [*document.lead, *(block for section in document.sections for block in section.blocks)]
    names = [block.name for block in blocks if isinstance(block, Picture)]
    pictures = {name: (plots / f"{name}.svg").read_text(encoding="utf-8") for name in names}
    for name, text in ((PAGE, markdown.render(document)), (HTML, html.render(document, pictures))):
        with replacing(output / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return document


def _read(folder: Path) -> tuple[Document, Measured]:
    manifest = read_manifest(folder / MANIFEST_FILE)
    if manifest.kind != "load":
        raise RecordError(f"{folder} is not a run of python -m bench.load. Name the folder of a load test.")
    measured = read_phases(folder)
    memories = _memories(measured, read_memory(folder))
    phases = [phase for phase, _ in measured]
    return to_document(manifest, summarise(measured), ratios(measured), memories, phases), measured


def _memories(measured: Measured, samples: Sequence[MemorySample]) -> dict[str, Memory]:
    found = {name: memory_over_time(measured, samples, name) for name in ("closed", "open")}
    return {name: memory for name, memory in found.items() if memory is not None}
