"""What was compared, in words: strategies, other ways to embed, models and what the processes did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.plan.cell import BASELINE, EMPTY, MEANINGS
from bench.report.document import Prose, Section, escape
from loader.strategies import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.plan.cell import Cell
    from bench.stats.context import Context

OTHERS = {
    BASELINE: "plain sentence-transformers on PyTorch, the reference for every ratio and every vector",
    "fastembed": "another library, with an ONNX file of the same model",
    "openvino": "another library, with an ONNX file of the same model",
    "model2vec": "another library with another model: one stored vector per token",
    "import_numpy": "a process that only imports NumPy",
    EMPTY: "an empty Python program, `python -c pass`: the floor",
}
"""What is compared and never recommended; so are the cells of ``bench.measure.scenarios.service_beside``."""

SCENARIOS = {
    "idle": "the program waits until the model is ready, then requests a vector (lazy and other libraries load on "
    "request)",
    "at_once": "the program requests a vector as soon as loading has started",
    "think_time": "the program does other work before the request: it computes in Python, or sleeps as if waiting for "
    "a person or a network",
    "search_command": "a whole program, `aur search`, from its start to its first line of output",
    "concurrent": "several processes use the same model at the same time",
}


def render(context: Context) -> Section | None:
    """Return the section; nothing where nothing was measured."""
    if not context.measured:
        return None
    cells = [summary.cell for summary in context.measured]
    groups = (
        ("Strategies of the loader", _strategies(cells)),
        ("For comparison", _others(context, cells)),
        ("Scenarios", _scenarios(cells)),
        ("Models", _models(context)),
        ("Engines", _engines(context)),
    )
    lines = [f"- {title}\n{_indented(items)}" for title, found in groups if (items := list(found))]
    return Section("What was measured", (Prose("\n".join(lines)),)) if lines else None


def _strategies(cells: Iterable[Cell]) -> Iterator[str]:
    measured = {cell.strategy for cell in cells}
    for strategy, spec in STRATEGIES.items():
        if strategy in measured and strategy not in MEANINGS:
            yield f"**{strategy}**: {spec.summary}"
    for strategy, meaning in MEANINGS.items():
        if strategy in measured:
            yield f"**{escape(strategy)}**: {meaning}"


def _others(context: Context, cells: Iterable[Cell]) -> Iterator[str]:
    measured = {cell.strategy for cell in cells}
    versions = {record.cell.strategy: record.facts.get("version") for record in context.chosen}
    for name, meaning in OTHERS.items():
        if name in measured:
            version = f" {escape(str(versions[name]))}" if versions.get(name) else ""
            yield f"**{escape(name)}**{version}: {meaning}"


def _scenarios(cells: Iterable[Cell]) -> Iterator[str]:
    measured = {cell.scenario for cell in cells}
    for name, meaning in SCENARIOS.items():
        if name in measured:
            yield f"**{escape(name)}**: {meaning}"


def _models(context: Context) -> Iterator[str]:
    for full, name in context.models.items():
        yield f"**{escape(name) or '-'}**: {escape(full) or '-'}"


def _engines(context: Context) -> Iterator[str]:
    """Yield the engine and the precision behind each strategy, where the records know them."""
    found: dict[str, dict[str, None]] = {}
    for record in context.chosen:
        engine, precision = record.facts.get("engine"), record.facts.get("precision")
        if record.cell.subject == "embedding_loader" and engine and precision:
            found.setdefault(f"{engine}, {precision}", {})[record.cell.strategy] = None
    for answered, strategies in found.items():
        yield f"{', '.join(escape(name) for name in strategies)}: engine {escape(answered)}"


def _indented(items: Iterable[str]) -> str:
    return "\n".join(f"  - {item}" for item in items)
