"""``python -m bench.export RUN --format FORMAT``: a run's figures in the formats that other tools read.

Nothing is measured or judged here: the records behind the report are written as another tool's JSON, without host names
and paths.
"""

from __future__ import annotations

import datetime
import importlib
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench.data.environment import PROJECT
from bench.data.merging import replacing
from bench.data.metrics import METRICS_BY_KEY
from bench.errors import EXIT_MISSING, EXIT_OK, ConfigError, RecordError
from bench.history.runs import read_revision
from bench.programs import new_parser, run_main
from bench.stats.context import load_context
from bench.stats.intervals import median_interval
from bench.stats.series import SECONDS, SampleSeries, collect_series

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from bench.data.environment import Environment
    from bench.data.manifest import Manifest
    from bench.data.metrics import Metric
    from bench.stats.context import Context


@dataclass(frozen=True)
class Format:
    """A format of another tool.

    Attributes:
        name: its name on the command line.
        only_times: whether it can only hold times.
        make: returns what is written as JSON.
    """

    name: str
    only_times: bool
    make: Callable[[Context, Sequence[SampleSeries]], object]


def pytest_benchmark_json(context: Context, series: Sequence[SampleSeries]) -> dict[str, Any]:
    """Return what the installed pytest-benchmark would write with ``--benchmark-json``; times in seconds.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        # Its own classes, so that statistics and fields match the version that will read them.
        version = importlib.import_module("pytest_benchmark").__version__
        metadata = importlib.import_module("pytest_benchmark.stats").Metadata
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"This format needs {error.name}, which is not installed. "
            "Install it with: python -m pip install 'optimized-embedding-loader[bench]'"
        ) from error
    return {
        "machine_info": _machine_info(series),
        "commit_info": _commit_info(context.manifest),
        "benchmarks": [_benchmark(metadata, item) for item in series],
        "datetime": _measured_at(context),
        "version": version,
    }


def _benchmark(metadata: Any, series: SampleSeries) -> dict[str, Any]:
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


def _machine_info(series: Sequence[SampleSeries]) -> dict[str, Any]:
    """Return what the machines have in common, in pytest-benchmark's terms; ``node`` holds our names for them."""
    environments = {item.machine: item.environment for item in series}
    processor = _common(found.processor for found in environments.values())
    machine = _common(found.machine for found in environments.values())
    system, _, release = _common(found.system for found in environments.values()).partition(" ")
    implementation, _, version = _common(found.python for found in environments.values()).partition(" ")
    return {
        "node": ", ".join(environments),
        "processor": processor,
        "machine": machine,
        "python_compiler": "unknown",
        "python_implementation": implementation,
        "python_implementation_version": version,
        "python_version": version,
        "python_build": ["unknown", "unknown"],
        "release": release,
        "system": system,
        "cpu": {"brand_raw": processor, "arch_string_raw": machine},
    }


def _commit_info(manifest: Manifest) -> dict[str, Any]:
    """Return the measured commit in pytest-benchmark's terms, with its own defaults for what the manifest lacks."""
    known: dict[str, Any] = {"id": "unknown", "time": None, "dirty": None}
    revision = read_revision(manifest.revision)
    if manifest.revision is not None and revision is not None:
        committed_at = None if revision.committed_at is None else revision.committed_at.isoformat()
        # null means that git could not tell; only the arms of a gate lack it, and they are made from commits.
        dirty = False if manifest.arm else manifest.revision.dirty
        known = {"id": revision.commit, "time": committed_at, "dirty": dirty}
    # A gate may judge any project.
    project = "unknown" if manifest.arm else PROJECT
    return {**known, "author_time": None, "project": project, "branch": "(unknown)"}


def _common(texts: Iterable[str | None]) -> str:
    """Return what all machines have."""
    values = {text or "unknown" for text in texts}
    return values.pop() if len(values) == 1 else "several"


def _measured_at(context: Context) -> str:
    """Return when the last sample began, in UTC; "" if no record has that."""
    times = []
    for record in context.records:
        try:
            times.append(datetime.datetime.fromisoformat(record.started_at).astimezone(datetime.UTC))
        except (ValueError, OverflowError):
            continue
    return max(times).isoformat() if times else ""


def _describe(environment: Environment) -> str:
    return ", ".join(filter(None, (environment.processor, environment.system, environment.python))) or "not described"


def github_action_benchmark_json(context: Context, series: Sequence[SampleSeries]) -> list[dict[str, Any]]:
    """Return the entries that github-action-benchmark reads as ``customSmallerIsBetter``.

    ``value`` is the median; ``range`` is half the width of its confidence interval (``bench.stats.intervals``), missing
    if there are too few samples. ``extra``, a text that it shows as it is, ends with the measured commit if the run
    recorded one: the commit that the tool itself notes is the one whose workflow called it.
    """
    revision = read_revision(context.manifest.revision)
    changes = ", with uncommitted changes" if revision is not None and revision.dirty else ""
    commit = "" if revision is None else f"\ncommit: {revision.commit}{changes}"
    entries = []
    for item in series:
        interval = median_interval(item.values)
        # Two digits and no thousands separator: the reader parses the text after the sign as a number.
        spread = {} if interval is None else {"range": f"± {(interval.high - interval.low) / 2:.2f}"}
        entries.append(
            {
                "name": f"{item.name} {item.metric.key}",
                "unit": item.metric.unit,
                "value": round(statistics.median(item.values), 6),
                **spread,
                "extra": f"n: {len(item.values)}\n{item.machine}: {_describe(item.environment)}{commit}",
            }
        )
    return entries


FORMATS = (
    Format("pytest-benchmark", only_times=True, make=pytest_benchmark_json),
    Format("github-action-benchmark", only_times=False, make=github_action_benchmark_json),
)


def to_text(made: object) -> str:
    """Return JSON in ASCII, so that no name can disturb the terminal it is printed on.

    Raises:
        RecordError: JSON cannot represent a figure.
    """
    try:
        return json.dumps(made, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise RecordError(f"The records have figures that JSON cannot hold ({error}): the run is damaged.") from error


def parse_words(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; ends the process if it is invalid."""
    parser = new_parser("export", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--format", required=True, choices=[each.name for each in FORMATS], help="the format to write")
    parser.add_argument(
        "--metric",
        nargs="+",
        action="extend",
        default=[],
        choices=tuple(METRICS_BY_KEY),
        metavar="METRIC",
        help="figures to export, by column name (default: the one that each cell is judged by); any of: %(choices)s",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to this file (default: standard output)")
    return parser.parse_args(words)


def main() -> int:
    """Export the run named on the command line and return the exit code."""
    asked = parse_words()
    form = next(each for each in FORMATS if each.name == asked.format)
    metrics = [METRICS_BY_KEY[key] for key in dict.fromkeys(asked.metric)]
    _check(form, metrics)
    context = load_context(asked.run)
    found = collect_series(context, metrics, only_times=form.only_times)
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
    return EXIT_OK


def _check(form: Format, metrics: Sequence[Metric]) -> None:
    others = [metric.key for metric in metrics if form.only_times and metric.unit not in SECONDS]
    if others:
        raise ConfigError(
            f"{form.name} holds only times, and {', '.join(others)} is not a time. Leave it out, or use --format "
            + next(each.name for each in FORMATS if not each.only_times)
        )


if __name__ == "__main__":
    run_main(main)
