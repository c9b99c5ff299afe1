"""A deterministic stand-in for real processes, and made-up records."""

from __future__ import annotations

from bench.data.records import Record, encode_vector
from bench.measure.process import Outcome
from bench.plan.cell import BASELINE, Cell
from bench.plan.config import ProtocolConf
from bench.plan.plan import Plan


def make_cell(strategy: str = "lazy", **changes) -> Cell:
    """Return a cell."""
    fields = {
        "subject": "sentence_transformers" if strategy == BASELINE else "embedding_loader",
        "strategy": strategy,
        "engine": "" if strategy == BASELINE else "auto",
        "model_key": "minilm",
        "model": "org/minilm",
        "device": "cpu",
        "scenario": "idle",
        "threads": None,
    }
    return Cell(**{**fields, **changes})


def make_protocol(**changes) -> ProtocolConf:
    """Return a protocol of one warm-up and three counted rounds."""
    fields = {
        "name": "test",
        "warmup_rounds": 1,
        "rounds": 3,
        "budget_s": 1000.0,
        "sample_timeout_s": 10.0,
        "passes": [],
        "max_steal": 0.05,
        "max_foreign_cpu": 0.15,
        "max_reruns": 0.25,
    }
    return ProtocolConf(**{**fields, **changes})


def make_plan(*cells: Cell, seed: int = 1, precision: float | None = None, **protocol) -> Plan:
    """Return a plan."""
    return Plan(cells or (make_cell(BASELINE), make_cell("lazy")), make_protocol(**protocol), seed, precision)


def make_answer(total_ms: float = 100.0, *, vector=(0.6, 0.8), ready: bool = False, engine: str = "x", **changes):
    """Return what a worker would say, with marks relative to a spawn at 0."""
    start, end = 20_000_000, round(total_ms * 1e6)
    marks = {"python_up": 10_000_000, "imported": start, "constructed": start, "started": start}
    if ready:
        marks["ready"] = end - 1_000_000
    marks |= {"requested": marks.get("ready", start), "first_embedding": end, "second_embedding": end + 1_000_000}
    memory = {"rss_bytes": 50 * 2**20, "peak_rss_bytes": 60 * 2**20, "rss_anon_bytes": 2**20, "rss_file_bytes": 2**21}
    answer = {
        "status": "ok",
        "marks_ns": marks,
        "memory": {"steady": memory},
        "cpu_s": 0.5,
        "facts": {"engine": engine, "precision": "float32", "device": "cpu", "dimension": len(vector)},
        "vectors": [list(vector), list(vector)],
    }
    return answer | changes


def make_outcome(answer=None, *, exit_code: int = 0, timed_out: bool = False, stderr: str = "", **more) -> Outcome:
    """Return what became of a process that took 200 ms."""
    return Outcome(answer, exit_code, timed_out, 0, 200_000_000, "2026-01-01T00:00:00.000+00:00", stderr, **more)


def make_record(cell: Cell | None = None, number: int = 1, total_ms: float = 100.0, **changes) -> Record:
    """Return an ``ok`` record."""
    answer = make_answer(total_ms)
    fields = {
        "cell": cell or make_cell(),
        "round": number,
        "is_warmup": False,
        "status": "ok",
        "started_at": "2026-01-01T00:00:00.000+00:00",
        "marks_ns": {"spawn": 0, **answer["marks_ns"], "exit": 200_000_000},
        "memory": answer["memory"],
        "cpu_s": 0.5,
        "facts": answer["facts"],
        "vectors_b64": (encode_vector((0.6, 0.8)),) * 2,
        "cosines": (1.0, 1.0),
    }
    return Record(**{**fields, **changes})


class FakeExecutor:
    """Answers from a table instead of starting processes, and remembers what was asked."""

    def __init__(self, outcomes=None) -> None:
        self._outcomes = outcomes or {}
        self.asked: list[Cell] = []
        self.slots = []

    def __call__(self, slot) -> Outcome:
        """Return the outcome of the slot's cell; by default 100 ms and the reference's vector."""
        self.asked.append(slot.cell)
        self.slots.append(slot)
        outcome = self._outcomes.get(slot.cell.strategy, make_outcome(make_answer()))
        return outcome(len(self.asked)) if callable(outcome) else outcome


class Recorder:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.begun, self.ended, self.repeated, self.skipped = [], [], [], []

    def sample_begins(self, slot) -> None:
        self.begun.append(slot)

    def sample_ended(self, record) -> None:
        self.ended.append(record)

    def sample_repeats(self, slot) -> None:
        self.repeated.append(slot)

    def slot_skipped(self, slot) -> None:
        self.skipped.append(slot)
