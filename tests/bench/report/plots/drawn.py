"""Runs to draw."""

from bench.plan.cell import BASELINE
from bench.stats.context import Context
from bench.stats.summary import summarise
from tests.bench.support import fakes
from tests.bench.support.manifests import manifest_of

MIB = 2**20


MODELS = {"small": "org/small", "large": "org/large"}


SIZES = {"model_bytes": {"org/small": 60 * MIB, "org/large": 400 * MIB}}


def context_of(records, **manifest):
    machines = {record.machine: {} for record in records} or {"": {}}
    return Context(manifest_of({"environments": machines, **manifest}), records, summarise(records))


def cell(strategy="lazy", model="small", **changes):
    subject = {BASELINE: "sentence_transformers", "import_numpy": "import_numpy"}.get(strategy, "embedding_loader")
    return fakes.make_cell(strategy, model=MODELS.get(model, model), model_key=model, subject=subject, **changes)


def at(think_s, kind="sleep"):
    return {"scenario": "think_time", "think_s": think_s, "think_kind": kind} if think_s else {"scenario": "at_once"}


def with_memory(item, points, **changes):
    return fakes.make_record(item, instrument="memory", facts={"memory_timeline": points}, **changes)


def with_tree(item, *imports):
    keys = ("name", "depth", "start_us", "self_us", "cumulative_us")
    tree = [dict(zip(keys, one, strict=True)) for one in imports]
    return fakes.make_record(item, instrument="importtime", facts={"import_tree": tree})


def whole_run():
    """Two models, every scenario and pass."""
    records = []
    for model in MODELS:
        for rank, strategy in enumerate((BASELINE, "progressive", "quantized", "import_numpy")):
            for number in range(3):
                total_ms = (4000.0, 97.0, 95.0, 70.0)[rank] * (2 if model == "large" else 1) + number
                scenarios = ({}, at(0), at(1.0), at(2.0, "compute"))
                records += [fakes.make_record(cell(strategy, model, **one), number, total_ms) for one in scenarios]
            records.append(with_memory(cell(strategy, model), [[0, 0, MIB], [9 * 10**7, 30 * MIB, 9 * MIB]]))
            imports = [("numpy", 0, 0, 20, 60), ("numpy.core", 1, 10, 40, 40)]
            records.append(with_tree(cell(strategy, model), *imports))
            records[-1].facts["imports"] = [{"package": "numpy", "self_us": 60, "modules": 2}]
    return context_of(records, **SIZES)


def all_texts(figure):
    return [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]


STRATEGIES = [BASELINE, "lazy", "progressive", "import_numpy", "somebody's own"]
