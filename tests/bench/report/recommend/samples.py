"""Samples whose best strategy is known."""

from bench.plan.cell import MEANINGS
from bench.report.choice.candidates import choices
from bench.report.choice.recommend import recommend
from bench.stats.context import Context
from bench.stats.summary import summarise
from loader.strategies import STRATEGIES
from tests.bench.support import fakes
from tests.bench.support.manifests import manifest_of

MIB = 2**20


ENVIRONMENT = {
    "system": "Linux 6",
    "processor": "made up",
    "processors_usable": 2,
    "python": "CPython 3.11.0",
    "packages": {"torch": "2.0", "numpy": None},
}


MANIFEST = {"environments": {"m": ENVIRONMENT}, "command": "python -m bench", "cells": []}


SERVICE_MEMORY = {"rss_bytes": 80 * MIB, "rss_anon_bytes": 20 * MIB}


def sample(strategy="lazy", number=1, *, total=100.0, init=10.0, wait=50.0, peak=60.0, cosine=1.0, stall=0.0, **cell):
    """Return a record with these figures, in ms and MiB."""
    marks = {
        "spawn": 0,
        "python_up": 5_000_000,
        "started": round((5 + init) * 1e6),
        "requested": round((total - wait) * 1e6),
        "first_embedding": round(total * 1e6),
    }
    if cell.get("scenario") == "search_command":
        marks["results"] = marks["first_embedding"]
    cell = fakes.make_cell(strategy, **cell)
    return fakes.make_record(
        cell,
        number,
        marks_ns=marks,
        memory={"steady": {"peak_rss_bytes": round(peak * MIB), "rss_anon_bytes": MIB}},
        cosines=() if cosine is None else (1.0, cosine),
        heartbeat={"total_stall_s": stall / 1000, "longest_stall_s": stall / 2000},
        machine="m",
    )


def rounds(*arguments, count=8, **changes):
    return [sample(*arguments, number, **changes) for number in range(1, count + 1)]


def context_of(*records, **manifest):
    flat = [record for group in records for record in group]
    return Context(manifest_of(MANIFEST | manifest), flat, summarise(flat))


def found(context):
    """What is recommended, by the key of the use."""
    (choice,) = choices(context)
    return {each.use.key: each for each in recommend(choice)}


def named(context):
    return {key: each.winner.name if each.winner else None for key, each in found(context).items()}


to_choose_from = [str(name) for name in STRATEGIES if name not in MEANINGS]
