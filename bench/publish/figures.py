"""What stands in the pages, by name: functions from the committed records to Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.json_text import parse
from bench.data.metrics import METRICS_BY_KEY, MIB
from bench.errors import RecordError
from bench.load.records import read_memory, read_phases
from bench.load.summary import memory_over_time, ratios
from bench.load.summary import summarise as summarise_load
from bench.plan.cell import BASELINE, EMPTY, SERVICE
from bench.report import tables
from bench.report.choice.candidates import choices
from bench.report.choice.reasons import join, kept_loaded
from bench.report.choice.recommend import recommend
from bench.report.document import Table, escape
from bench.report.first_screen import lead
from bench.report.first_screen.difference import draw
from bench.report.first_screen.overview import NAMES, overview, show_memory, show_times
from bench.report.markdown import to_markdown
from bench.report.sections.recommendation import CALLED_OFTEN, recommendation_table
from bench.studies import overhead, throughput
from bench.studies.power.report import read_study, real_table, simulation_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from bench.data.manifest import Manifest
    from bench.publish.reports import Reports
    from bench.report.first_screen.overview import Overview, Row
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary

MINILM = "minilm"
PLAIN, OURS = NAMES["sentence_transformers"], "progressive"
IN_SHORT = (PLAIN, "fastembed", OURS, "quantized", SERVICE)
"""The rows of the README's table."""

DRAWN = (PLAIN, "fastembed", OURS, SERVICE)
"""The bars of its picture."""

SHOWN_BY_MODEL = (BASELINE, "progressive", "quantized")
"""What is shown of every model."""


def _of_minilm(found: list[Table]) -> str:
    """Return the table of MiniLM, or the only one."""
    return to_markdown(next((table for table in found if table.title.endswith(f": {MINILM}")), found[0]))


def _idle(context: Context, model: str = MINILM) -> dict[str, CellSummary]:
    """Return the cells of a model that wait until it is ready, by strategy."""
    return {
        summary.cell.strategy: summary
        for summary in context.in_scenarios("idle")
        if summary.cell.model_key == model and summary.cell.engine in {"", "auto"}
    }


def show(summary: CellSummary, key: str, *, unit: bool = True) -> str:
    """Return the median of a metric as text."""
    return METRICS_BY_KEY[key].show(summary.median(key), unit=unit)


def _in_short(reports: Reports) -> tuple[Overview, dict[str, Row]]:
    """Return the rows that the README shows, by name."""
    context = reports.contexts["reference"]
    found = overview(context, next(choice for choice in choices(context) if choice.model_key == MINILM))
    rows = {row.name: row for row in found.rows} if found else {}
    missing = [name for name in IN_SHORT if name not in rows]
    if found is None or missing:
        raise RecordError(f"The reference report lacks {', '.join(missing)}. Measure it with the extra peers")
    return found, {name: rows[name] for name in IN_SHORT}


def headline(reports: Reports) -> str:
    """Return the one sentence with the one number."""
    found, rows = _in_short(reports)
    return f"**{lead.headline(found, rows[OURS])}**"


def in_short(reports: Reports) -> str:
    """Return one table of what matters most."""
    _, rows = _in_short(reports)
    beside_mib = rows[SERVICE].beside_mib
    note = f"\n\n{SERVICE}: the program, plus one process that keeps the model for all programs." if beside_mib else ""
    table = Table(
        "In short",
        ("With", "Time to first vector (ms)", "Times faster", "Peak memory (MiB)", "Vectors"),
        tuple(
            (
                name,
                METRICS_BY_KEY["total_ms"].show(row.time_ms, unit=False),
                show_times(row.times_faster),
                show_memory(row),
                row.vectors,
            )
            for name, row in rows.items()
        ),
    )
    return to_markdown(table) + note


def difference(reports: Reports) -> Mapping[str, str]:
    """Return the README's picture, light and dark, by name without ending."""
    found, rows = _in_short(reports)
    return draw(found, [rows[name] for name in DRAWN], "all-MiniLM-L6-v2", "difference")


def startup_sentences(reports: Reports) -> str:
    """Return what the start-up table says."""
    cells = _idle(reports.contexts["reference"])
    ours = cells["progressive"]
    others = [
        f"{name} {show(cells[key], 'total_ms')} (`{key}`)"
        for key, name in (
            (EMPTY, "an empty Python program"),
            ("import_numpy", "a process that only imports NumPy"),
            (BASELINE, "plain sentence-transformers"),
            ("fastembed", "fastembed"),
            ("openvino", "OpenVINO"),
        )
        if key in cells and cells[key].spreads
    ]
    kept = ""
    if SERVICE in cells and cells[SERVICE].spreads:
        kept = f" With a process that keeps the model loaded it is {show(cells[SERVICE], 'total_ms')} (`{SERVICE}`)."
    return (
        f"- **Total** is the time from the start of the process to the first vector: {show(ours, 'total_ms')} with "
        "`progressive`, at full precision, with nothing prepared and PyTorch not imported. In the same rounds: "
        f"{', '.join(others)}.{kept}\n"
        f"- **Init** is how long the main thread is blocked: {show(ours, 'init_ms')}."
    )


def several_processes(reports: Reports) -> str:
    """Return what several processes take together."""
    found = {summary.cell.strategy: summary for summary in reports.contexts["reference"].in_scenarios("concurrent")}
    count = next(iter(found.values())).cell.processes
    told = ", ".join(f"{show(summary, 'together_mib')} with `{name}`" for name, summary in found.items())
    return (
        "Weights are memory-mapped, so most of this is file-mapped pages, which processes share. "
        f"{count} concurrent processes took, in total: {told} (proportional set size)."
    )


def models(reports: Reports) -> str:
    """Return what start-up costs with each model."""
    context = reports.contexts["reference"]
    sizes = _sizes(context.manifest)
    rows = []
    for full, key in context.models.items():
        cells = _idle(context, key)
        figures = [show(cells[name], "total_ms", unit=False) for name in SHOWN_BY_MODEL]
        ratio = cells["progressive"].ratios["total_ms"].median
        peaks = [show(cells[name], "peak_mib", unit=False) for name in SHOWN_BY_MODEL]
        size = f"{sizes[full] / MIB:.0f}" if full in sizes else "-"
        rows.append((sizes.get(full, 0), (key, size, *figures, tables.show_ratio(ratio), *peaks)))
    times = tuple(f"{name}: Total (ms)" for name in SHOWN_BY_MODEL)
    memory = tuple(f"{name}: Peak (MiB)" for name in SHOWN_BY_MODEL)
    headings = ("Model", "Weights (MiB)", *times, "progressive / baseline", *memory)
    return to_markdown(Table("Models", headings, tuple(row for _, row in sorted(rows))))


def _sizes(manifest: Manifest) -> dict[str, int]:
    """Return the bytes of each model's weights, at full precision."""
    return {
        made.model: made.bytes
        for made in manifest.preparations
        if made.precision == "float32" and made.model is not None and made.bytes is not None
    }


def recommendation(reports: Reports) -> str:
    """Return what suits each use, with MiniLM."""
    choice = next(choice for choice in choices(reports.contexts["reference"]) if choice.model_key == MINILM)
    found = recommend(choice)
    table, kept = to_markdown(recommendation_table("Recommendation", found)), kept_loaded(choice, found[0])
    return f"{table}\n\n{CALLED_OFTEN}: {escape(kept)}" if kept else table


def vectors(reports: Reports) -> str:
    """Return how near the vectors are to the original's."""
    context = reports.contexts["reference"]
    lowest = min(
        value
        for record in context.chosen
        if record.facts.get("precision") == "float32" and not record.cell.is_baseline
        for value in record.cosines
    )
    text = f"At full precision the vectors equal those of plain sentence-transformers (lowest cosine {lowest:.7f})"
    if context.quality is None:
        return f"{text}."
    eight_bits = [
        (record.facts["engine"], found)
        for record, found in context.quality.compared
        if record.facts["precision"] == "int8" and found.cosine_mean is not None
    ]
    told = join([f"{found.cosine_mean:.4f} (`{engine}`)" for engine, found in eight_bits])
    count = max((found.text_count for _, found in eight_bits), default=0)
    return (
        f"{text}. With 8 bits the mean cosine is {told}, over {count:,} texts. The reference report also shows how "
        "good they are for search (`python -m bench suite=quality`)."
    )


def measured_on(reports: Reports) -> str:
    """Return where, with what and when the reference report was measured."""
    context = reports.contexts["reference"]
    (environment, *_) = context.manifest.environments.values()
    names = {"numpy": "NumPy", "onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
    names["sentence-transformers"] = "sentence-transformers"
    versions = [f"{name} {environment.installed[key]}" for key, name in names.items()]
    counts = [summary.spreads["total_ms"].n for summary in context.in_scenarios("idle")]
    return (
        f"Measured on {environment.processors_usable} processors of a shared machine ({environment.processor}, "
        f"{environment.python}, {', '.join(versions)}), {min(counts)} fresh processes of each cell in "
        "interleaved rounds."
    )


def _measured(path: Path) -> dict[str, Any]:
    """Return what another program of the harness wrote. Raises RecordError if that is damaged."""
    try:
        return dict(parse(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"{path} cannot be read: {error}. Measure it again") from error


def _machines(reports: Reports, of_this: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the same measurement on two kinds of processor, by their instruction sets."""
    folder = reports.root / "reports"
    return {"AVX-512": _measured(folder / of_this / name), "AVX2": _measured(folder / "avx2" / name)}


def _beside(machines: Mapping[str, Mapping[str, tuple[str, ...]]], first: str, headings: tuple[str, ...]) -> str:
    """Return one table of what was measured on each machine: the cells of a row by its name."""
    names = dict.fromkeys(name for rows in machines.values() for name in rows)
    lacking = ("-",) * len(headings)
    rows = tuple((name, *(cell for found in machines.values() for cell in found.get(name, lacking))) for name in names)
    columns = (f"{machine}: {heading}" for machine in machines for heading in headings)
    return to_markdown(Table("", (first, *columns), rows))


def texts_a_second(reports: Reports) -> str:
    """Return how many texts each engine embeds, on two kinds of processor."""
    machines = {
        machine: {
            str(row["subject"]): (
                f"{row['texts_per_s']:,.0f}",
                f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
                f"{row['ratio']:.2f}",
            )
            for row in throughput.summarise(report["rates"])
        }
        for machine, report in _machines(reports, "", "throughput.json").items()
    }
    return _beside(machines, "Engine", ("Texts per second", "Range", "Ratio"))


def _service_folder(reports: Reports) -> Path:
    return reports.root / "reports" / "reference" / "service"


def in_interpreters(reports: Reports) -> str:
    """Return what a vector costs a fresh process, in interpreters, on two kinds of processor."""
    reported = _machines(reports, "reference/service", "overhead.json")
    machines = {
        machine: {
            row.command: (
                f"{1e3 * row.median_s:.1f}",
                "1" if row.shift is None else f"{row.shift.ratio:.2f}",
                "-" if row.shift is None else f"{row.shift.low:.2f} to {row.shift.high:.2f}",
            )
            for row in overhead.summarise(report["seconds"])
        }
        for machine, report in reported.items()
    }
    table = _beside(machines, "Process", ("Median ms", "Times the interpreter", "95 %"))
    counts = join([f"{report['rounds']} runs ({machine})" for machine, report in reported.items()])
    return f"{table}\n\n{counts} of each; ratios are Hodges-Lehmann estimates over pairs within rounds."


def service_under_load(reports: Reports) -> str:
    """Return what the load test of the service found, in words."""
    folder = _service_folder(reports) / "load"
    measured = read_phases(folder)
    closed = next(load for load in summarise_load(measured) if load.name == "closed")
    best = ratios(measured)["best"]
    memory = memory_over_time(measured, read_memory(folder), "closed")
    wrong = sum(count for phase, _ in measured for name, count in phase.counts.items() if name != "ok")
    right = sum(phase.counts["ok"] for phase, _ in measured if phase.name in {"closed", "open"})
    assert memory is not None  # noqa: S101 - the committed run has minutes of samples
    assert closed.answers_per_s is not None  # noqa: S101 - and answers
    return (
        f"{closed.clients} clients without pauses get {closed.answers_per_s.median:,.0f} answers a second: "
        f"{best.median:.2f} of the best rate of one process with the same model (batches of 32). Of "
        f"{right + wrong:,} requests, {wrong} went unanswered or got the wrong vector. Meanwhile the service's own "
        f"memory went from {memory.first_bytes / MIB:.1f} to {memory.last_bytes / MIB:.1f} MiB (medians of the first "
        "and last quarter). [Full report](../reports/reference/service/load/load.md)."
    )


def _simulated(name: str) -> Callable[[Reports], str]:
    def show_study(reports: Reports) -> str:
        return to_markdown(simulation_table(read_study(reports.root / "reports" / "study" / f"{name}.json")))

    return show_study


FIGURES: dict[str, Callable[[Reports], str]] = {
    "headline": headline,
    "in short": in_short,
    "start-up": lambda reports: _of_minilm(tables.startup_tables(reports.contexts["reference"])),
    "start-up in words": startup_sentences,
    "memory": lambda reports: _of_minilm(tables.memory_tables(reports.contexts["reference"])),
    "several processes": several_processes,
    "recommendation": recommendation,
    "models": models,
    "experience": lambda reports: _of_minilm(tables.experience_tables(reports.contexts["specification"])),
    "cold": lambda reports: _of_minilm(tables.startup_tables(reports.contexts["cold"])),
    "texts a second": texts_a_second,
    "in interpreters": in_interpreters,
    "service under load": service_under_load,
    "vectors": vectors,
    "measured on": measured_on,
    "power of the gate": _simulated("default"),
    "power of the gate, busy": _simulated("busy"),
    "power of the gate, all threads": _simulated("all-threads"),
    "power of the gate, native": _simulated("native"),
    "power of the gate, real": lambda reports: to_markdown(
        real_table(read_study(reports.root / "reports" / "study" / "real.json"))
    ),
}
