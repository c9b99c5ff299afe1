"""``python -m bench.study``: how often the gate is wrong, and how much slower a revision must be to be caught.

``record`` measures one revision against itself for a while; ``simulate`` draws thousands of gates from such recordings;
``real`` runs real gates, some on a change that does nothing and some on a slower revision; ``report`` shows what both
found.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError
from bench.gate.config import load_gate, make_rules
from bench.measure.machine import describe_environment
from bench.programs import new_parser, run_main
from bench.progress import announce
from bench.studies.power.real import run_gates
from bench.studies.power.record import record
from bench.studies.power.recordings import read_recording, write_recording
from bench.studies.power.simulate import Question, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = 1
EFFECTS = (0.0, 0.05, 0.10, 0.25)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    asked = _parser().parse_args(words)
    asked.run(asked)


def _record(asked: argparse.Namespace) -> None:
    from bench.gate.run import Asked

    with tempfile.TemporaryDirectory(prefix="bench-study-") as folder:
        gate = Asked(
            head=asked.revision,
            output=Path(folder) / "records",
            repository=asked.repository,
            overrides=asked.overrides,
            words=_command_line(),
        )
        recording = record(gate, asked.minutes * 60)
    rules = make_rules(load_gate(asked.overrides))
    metrics = {metric.key for rule in rules for metric in (rule.metric, rule.against_metric)}
    write_recording(asked.output, recording, sorted(metrics))
    announce(f"{len(recording.rounds)} rounds: {asked.output}", quiet=False)


def _simulate(asked: argparse.Namespace) -> None:
    recordings = [read_recording(file) for file in asked.recordings]
    overrides = recordings[0].overrides
    if any(recording.overrides != overrides for recording in recordings):
        raise ConfigError("the recordings were made with different overrides: simulate them separately")
    conf = load_gate([*overrides, *asked.set])
    question = Question(make_rules(conf), conf.settings, asked.metric, asked.block, conf.seed)
    tallies = []
    for effect in asked.effects:
        tallies.append(simulate(recordings, question, effect, asked.gates))
        tally = tallies[-1]
        announce(
            f"+{100 * effect:g} % of {asked.metric}: {tally.regressions} of {tally.gates} gates find a regression "
            f"({tally.rate[0]:.1%}, 95 % interval {tally.rate[1]:.1%} to {tally.rate[2]:.1%}), "
            f"{tally.inconclusive} are inconclusive; median {tally.median_s:.0f} s, {tally.median_rounds:.0f} rounds",
            quiet=False,
        )
    result = {
        "metric": asked.metric,
        "block_rounds": asked.block,
        "seed": conf.seed,
        "settings": asdict(conf.settings),
        "rules": [
            {"cell": rule.cell.label(), "metric": rule.metric.key, "limit": rule.limit, "floor": rule.floor}
            for rule in question.rules
        ],
        "recordings": [
            {"rounds": len(recording.rounds), "recorded_at": recording.recorded_at, "command": recording.command}
            for recording in recordings
        ],
        "environment": recordings[0].environment,
        "tallies": [asdict(tally) for tally in tallies],
    }
    _write(asked.json, result)


def _real(asked: argparse.Namespace) -> None:
    effects = [0.0] * asked.unchanged + [asked.effect] * asked.slower
    if not asked.unchanged:
        raise ConfigError(
            "--unchanged must be at least 1: the first gate's figure determines how much slower a slower head is"
        )
    say = lambda text: announce(text, quiet=False)  # noqa: E731 - it is passed on at once
    with tempfile.TemporaryDirectory(prefix="bench-study-") as folder:
        gates = run_gates(
            asked.repository, asked.revision, Path(folder) / "gates", effects=effects, options=asked.options, say=say
        )
    _write(asked.json, {"environment": describe_environment().to_json(), "gates": [gate.to_json() for gate in gates]})


def _report(asked: argparse.Namespace) -> None:
    from bench.report.markdown import to_markdown
    from bench.studies.power.report import draw_power, read_study, real_table, simulation_table

    studies = {file.stem: read_study(file) for file in asked.studies}
    simulations = [(name, study) for name, study in studies.items() if "tallies" in study]
    for name, study in studies.items():
        table = simulation_table(study) if "tallies" in study else real_table(study)
        sys.stdout.write(f"{name}: {table.title}\n\n{to_markdown(table)}\n\n")
    if simulations:
        draw_power(simulations, asked.output)


def _write(file: Path | None, result: dict[str, Any]) -> None:
    if file is not None:
        text = json.dumps({"schema": SCHEMA, "command": _command_line(), **result}, indent=1)
        file.write_text(text + "\n", encoding="utf-8")


def _command_line() -> str:
    return shlex.join(["python", "-m", "bench.study", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("study", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    recorder = commands.add_parser("record", help="measure a revision against itself for a while")
    recorder.add_argument("output", type=Path, metavar="FILE", help="the recording")
    recorder.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/gate.yaml")
    recorder.add_argument("--minutes", type=_positive(float), default=5.0, help="duration (default: %(default)s)")
    recorder.set_defaults(run=_record)

    simulator = commands.add_parser("simulate", help="draw gates from recordings")
    simulator.add_argument("recordings", nargs="+", type=Path, metavar="FILE", help="written by record")
    simulator.add_argument("--gates", type=_positive(int), default=2000, help="gates per effect (default: %(default)s)")
    simulator.add_argument(
        "--effects", type=float, nargs="+", default=EFFECTS, help="0.1: 10 %% slower (default: 0 0.05 0.1 0.25)"
    )
    simulator.add_argument("--metric", default="total_ms", help="the metric that gets slower (default: %(default)s)")
    simulator.add_argument("--block", type=_positive(int), default=10, help="rounds drawn together (default: 10)")
    simulator.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override the recorded gate")
    simulator.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    simulator.set_defaults(run=_simulate)

    runner = commands.add_parser("real", help="run real gates")
    runner.add_argument("--unchanged", type=_positive(int), default=10, help="unchanged gates (default: %(default)s)")
    runner.add_argument("--slower", type=int, default=5, help="gates with a slower head (default: %(default)s)")
    runner.add_argument("--effect", type=float, default=0.25, help="by how much it is slower (default: %(default)s)")
    runner.add_argument("--json", type=Path, metavar="FILE", help="write all verdicts to this file")
    runner.add_argument("options", nargs="*", metavar="KEY=VALUE", help="overrides of conf/gate.yaml")
    runner.set_defaults(run=_real)

    reporter = commands.add_parser("report", help="print the tables of studies in Markdown, and plot their power")
    reporter.add_argument("studies", nargs="+", type=Path, metavar="FILE", help="written by simulate or real")
    reporter.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="for the pictures (default: here)")
    reporter.set_defaults(run=_report)

    for command in (recorder, runner):
        command.add_argument("--revision", default="HEAD", help="what is measured (default: %(default)s)")
        command.add_argument("--repository", type=Path, default=Path(), help="default: the folder you are in")
    return parser


def _positive(kind: type[int] | type[float]) -> Any:
    def parse(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    parse.__name__ = kind.__name__
    return parse


if __name__ == "__main__":
    run_main(main)
