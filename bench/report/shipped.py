"""What of a run goes into the package, for ``python -m loader doctor``: ``loader/reference.json``.

``loader.reference`` reads it. The loader never imports this package, so the format is described here, by ``SCHEMA``:

1. the first;
2. ``times_faster`` of a strategy.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.data.environment import Environment
from bench.report.choice.candidates import choices, figures
from bench.report.choice.reasons import sentence
from bench.report.choice.recommend import recommend
from bench.report.first_screen.overview import overview

if TYPE_CHECKING:
    from bench.report.choice.candidates import Candidate, Choice
    from bench.report.choice.recommend import Recommendation
    from bench.report.first_screen.overview import Overview
    from bench.stats.context import Context

SCHEMA = 2

DIGITS = 4
"""Significant digits of a figure; more would only be noise."""


def to_shipped(context: Context) -> dict[str, Any]:
    """Return what the package says of a run: its first machine, and for each model the uses and the strategies."""
    found = choices(context)
    machine = found[0].machine if found else next(iter(context.manifest.environments), "")
    mine = [choice for choice in found if choice.machine == machine]
    days = [record.started_at[:10] for record in context.chosen if record.machine == machine and record.started_at]
    rounds = [figures(candidate).n for choice in mine for candidate in choice.candidates]
    return {
        "schema": SCHEMA,
        "measured": {
            "date": min(days, default=None),
            "rounds": max(rounds, default=0),
            **_environment(context.manifest.environments.get(machine, Environment())),
        },
        "models": [_model(context, choice) for choice in mine],
    }


def to_text(context: Context) -> str:
    """Return ``to_shipped`` as the text of the file; the same records give the same text."""
    return json.dumps(to_shipped(context), indent=2) + "\n"


def _environment(environment: Environment) -> dict[str, Any]:
    return {
        "processor": environment.processor,
        "processors": environment.processors_usable,
        "system": (environment.system or "").partition(" ")[0] or None,
        "python": environment.python,
        "packages": environment.installed,
    }


def _model(context: Context, choice: Choice) -> dict[str, Any]:
    rows = overview(context, choice)
    return {
        "model": choice.model,
        "key": choice.model_key,
        "uses": [_use(found) for found in recommend(choice)],
        "strategies": [_strategy(candidate, rows) for candidate in choice.candidates],
    }


def _use(found: Recommendation) -> dict[str, Any]:
    return {
        "use": found.use.key,
        "title": found.use.title,
        "choice": found.winner.name if found.winner else None,
        "equal": list(found.equals),
        "why": sentence(found),
    }


def _strategy(candidate: Candidate, rows: Overview | None) -> dict[str, Any]:
    found = figures(candidate)
    row = rows.find(candidate.name) if rows else None
    return {
        "name": candidate.name,
        "strategy": candidate.strategy,
        "engine": candidate.engine,
        "device": candidate.device,
        "total_ms": _rounded(found.total_ms),
        "results_ms": _rounded(found.results_ms),
        "init_ms": _rounded(found.init_ms),
        "wait_ms": _rounded(found.wait_ms),
        "peak_mib": _rounded(found.peak_mib),
        "anonymous_mib": _rounded(found.anonymous_mib),
        "ratio_to_baseline": _rounded(found.ratio.median if found.ratio else None),
        "times_faster": _rounded(row.times_faster if row else None),
        "lowest_cosine": None if found.cosine is None else round(found.cosine, 7),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
