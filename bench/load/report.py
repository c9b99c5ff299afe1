"""Writing the page of a load test from its records alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.environment import read_manifest
from bench.errors import RecordError
from bench.load.page import LATENCY, THROUGHPUT, to_document
from bench.load.picture import draw_latency, draw_throughput
from bench.load.records import read_memory, read_phases
from bench.load.summary import memory_of, ratios, summarise
from bench.merge import replacing
from bench.report import html, markdown
from bench.report.document import Picture
from bench.report.saving import save
from bench.report.writing import PICTURES
from bench.run import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.load.records import MemorySample
    from bench.load.summary import Measured, Memory
    from bench.report.document import Document

PAGE, HTML = "load.md", "load.html"


def write_report(folder: Path) -> Document:
    """Write page and pictures into the folder of the records, and return what the page shows.

    Raises:
        RecordError: the folder holds no load test, or a damaged one.
    """
    manifest = read_manifest(folder / MANIFEST_FILE)
    if manifest.get("kind") != "load":
        raise RecordError(f"{folder} is a run, but not of python -m bench.load. Name the folder of one that is.")
    measured = read_phases(folder)
    loads = summarise(measured)
    document = to_document(
        manifest, loads, ratios(measured), _memories(measured, read_memory(folder)), [phase for phase, _ in measured]
    )
    plots = folder / PICTURES
    plots.mkdir(exist_ok=True)
    save(draw_throughput(loads), plots, THROUGHPUT)
    save(draw_latency(measured), plots, LATENCY)
    blocks = [*document.lead, *(block for section in document.sections for block in section.blocks)]
    names = [block.name for block in blocks if isinstance(block, Picture)]
    pictures = {name: (plots / f"{name}.svg").read_text(encoding="utf-8") for name in names}
    for name, text in ((PAGE, markdown.render(document)), (HTML, html.render(document, pictures))):
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return document


def _memories(measured: Measured, samples: Sequence[MemorySample]) -> dict[str, Memory]:
    found = {name: memory_of(measured, samples, name) for name in ("closed", "open")}
    return {name: memory for name, memory in found.items() if memory is not None}
