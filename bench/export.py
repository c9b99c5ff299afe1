"""``python -m bench.export RUN --format FORMAT``: a run's figures in the formats that other tools read.

Nothing is measured or judged here: the same records that the report is made from become somebody else's JSON. Neither
host names nor paths leave with them.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench.errors import EXIT_HARNESS, EXIT_MISSING, EXIT_OK, BenchError, ConfigError, RecordError
from bench.intervals import median_interval
from bench.merge import replacing
from bench.metrics import METRICS_BY_KEY
from bench.series import SECONDS, Series, collect, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.metrics import Metric
    from bench.report.context import Context

UNKNOWN_COMMIT = {
    "id": "unknown",
    "time": None,
    "author_time": None,
    "dirty": None,
    "project": "optimized-embedding-loader",
    "branch": "(unknown)",
}
"""A run does not know which commit it measured."""


@dataclass(frozen=True)
class Format:
    """A format of another tool.

    Attributes:
        name: by which it is asked for.
        only_times: whether it is for times alone.
        make: what becomes JSON.
    """

    name: str
    only_times: bool
    make: Callable[[Context, Sequence[Series]], object]


def pytest_benchmark_json(context: Context, series: Sequence[Series]) -> dict[str, Any]:
    """Return what the installed pytest-benchmark would write with ``--benchmark-json``; times in seconds.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        # Its own classes: the statistics and fields are then those of the version that will read them.
        version = importlib.import_module("pytest_benchmark").__version__
        metadata = importlib.import_module("pytest_benchmark.stats").Metadata
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"This format needs {error.name}, not installed here. "
            "Install it with: python -m pip install 'optimized-embedding-loader[bench]'"
        ) from error
    return {
        "machine_info": _machine_info(series),
        "commit_info": UNKNOWN_COMMIT,
        "benchmarks": [_benchmark(metadata, item) for item in series],
        "datetime": _measured_at(context),
        "version": version,
    }


def _benchmark(metadata: Any, series: Series) -> dict[str, Any]:
    scale, cell = SECONDS[series.metric.unit], series.cell
    fixture = SimpleNamespace(
        name=series.name,
        fullname=f"{series.metric.key}::{series.name}",
        group=series.metric.key,
        param=cell.label(),
        params={
            "strategy": cell.strategy,
            "engine": cell.engine,
            "model": cell.model_key,
            "device": cell.device,
            "scenario": cell.scenario_label,
            "cache_state": cell.cache_state,
            "threads": cell.threads,
            "machine": series.machine,
        },
        extra_info={"metric": series.metric.key, "machine": f"{series.machine}: {_describe(series.environment)}"},
        cprofile_stats=None,
    )
    options = {
        "disable_gc": False,
        "timer": "perf_counter_ns",
        "min_rounds": len(series.values),
        "max_time": 0.0,
        "min_time": 0.0,
        "warmup": series.warmed_up,
    }
    benchmark = metadata(fixture, iterations=1, options=options)
    for value in series.values:
        benchmark.update(value * scale)
    return dict(benchmark.as_dict(include_data=True))


def _machine_info(series: Sequence[Series]) -> dict[str, Any]:
    """Return what the machines have in common, in pytest-benchmark's terms; ``node`` is our name for them."""
    environments = {item.machine: item.environment for item in series}

    def common(key: str) -> str:
        values = {str(environment.get(key, "unknown")) for environment in environments.values()}
        return values.pop() if len(values) == 1 else "several"

    system, _, release = common("system").partition(" ")
    implementation, _, version = common("python").partition(" ")
    return {
        "node": ", ".join(environments),
        "processor": common("processor"),
        "machine": common("machine"),
        "python_compiler": "unknown",
        "python_implementation": implementation,
        "python_implementation_version": version,
        "python_version": version,
        "python_build": ["unknown", "unknown"],
        "release": release,
        "system": system,
        "cpu": {"brand_raw": common("processor"), "arch_string_raw": common("machine")},
    }


def _measured_at(context: Context) -> str:
    """Return when the last sample was begun, in UTC, "" if no record tells."""
    times = []
    for record in context.records:
        try:
            times.append(datetime.datetime.fromisoformat(record.started_at).astimezone(datetime.UTC))
        except (ValueError, OverflowError):
            continue
    return max(times).isoformat() if times else ""


def _describe(environment: dict[str, Any]) -> str:
    texts = [environment.get("processor"), environment.get("system"), environment.get("python")]
    return ", ".join(str(text) for text in texts if text) or "not described"


def github_action_benchmark_json(_context: Context, series: Sequence[Series]) -> list[dict[str, Any]]:
    """Return the entries that github-action-benchmark reads as ``customSmallerIsBetter``.

    ``value`` is the median; ``range`` is half of the width of its interval (``bench.intervals``), and missing where
    there are too few samples for one.
    """
    entries = []
    for item in series:
        interval = median_interval(item.values)
        # Two digits and no thousands separator: what reads it takes the text behind the sign for a number.
        spread = {} if interval is None else {"range": f"± {(interval.high - interval.low) / 2:.2f}"}
        entries.append(
            {
                "name": f"{item.name} {item.metric.key}",
                "unit": item.metric.unit,
                "value": round(statistics.median(item.values), 6),
                **spread,
                "extra": f"n: {len(item.values)}\n{item.machine}: {_describe(item.environment)}",
            }
        )
    return entries


FORMATS = (
    Format("pytest-benchmark", only_times=True, make=pytest_benchmark_json),
    Format("github-action-benchmark", only_times=False, make=github_action_benchmark_json),
)


def to_text(made: object) -> str:
    """Return JSON in ASCII, so that no name can harm what it is printed on.

    Raises:
        RecordError: a figure has no form in JSON.
    """
    try:
        return json.dumps(made, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise RecordError(f"The records have figures that JSON cannot hold ({error}): the run is damaged.") from error


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says; ends the process if that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m bench.export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--format", required=True, choices=[each.name for each in FORMATS], help="whose format to write"
    )
    parser.add_argument(
        "--metric",
        nargs="+",
        action="extend",
        default=[],
        choices=tuple(METRICS_BY_KEY),
        metavar="METRIC",
        help="figures, by the names of their columns; without it, the one that each cell is judged by. One of: "
        "%(choices)s",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
    return parser.parse_args(words)


def main() -> int:
    """Export what the command line names, return the exit code."""
    asked = parse()
    form = next(each for each in FORMATS if each.name == asked.format)
    metrics = [METRICS_BY_KEY[key] for key in dict.fromkeys(asked.metric)]
    try:
        _check(form, metrics)
        context = read_run(asked.run)
        found = collect(context, metrics, only_times=form.only_times)
        for note in found.left_out:
            sys.stderr.write(f"left out: {note}\n")
        if not found.series:
            sys.stderr.write(f"error: {asked.run} has no sample to export\n")
            return EXIT_MISSING
        text = to_text(form.make(context, found.series))
        if asked.output is None:
            sys.stdout.write(text)
        else:
            with replacing(asked.output) as partial:
                partial.write_text(text, encoding="ascii")
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    return EXIT_OK


def _check(form: Format, metrics: Sequence[Metric]) -> None:
    others = [metric.key for metric in metrics if form.only_times and metric.unit not in SECONDS]
    if others:
        raise ConfigError(
            f"{form.name} is for times, and {', '.join(others)} is none. Leave it out, or use --format "
            + next(each.name for each in FORMATS if not each.only_times)
        )


if __name__ == "__main__":
    raise SystemExit(main())
