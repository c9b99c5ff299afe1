"""A recording: many rounds in which all three arms of a gate were the same revision. Simulations draw from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.data.json_text import parse
from bench.errors import RecordError
from bench.gate.decide.rules import Place
from bench.plan.cell import cell_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.gate.decide.rules import Round

SCHEMA = 1


@dataclass(frozen=True)
class Recording:
    """Rounds in the order in which they were measured.

    Attributes:
        command: the command that measured them.
        overrides: overrides of the gate's configuration, to make the same rules again.
        environment: see ``bench.data.manifest``.
        recorded_at: when it began, ISO 8601.
        rounds: what was measured.
        seconds: how long each round took.
    """

    command: str
    overrides: Sequence[str]
    environment: Mapping[str, Any]
    recorded_at: str
    rounds: Sequence[Round]
    seconds: Sequence[float]


def write_recording(file: Path, recording: Recording, metrics: Sequence[str]) -> None:
    """Write a recording with these metrics of each place, compactly."""
    places = list(recording.rounds[0])
    data = {
        "schema": SCHEMA,
        "command": recording.command,
        "overrides": list(recording.overrides),
        "environment": recording.environment,
        "recorded_at": recording.recorded_at,
        "metrics": list(metrics),
        "places": [{"arm": place.arm, "cell": place.cell.to_json()} for place in places],
        "seconds": [round(seconds, 3) for seconds in recording.seconds],
        "rounds": [[[found[place].get(key) for key in metrics] for place in places] for found in recording.rounds],
    }
    file.write_text(json.dumps(data, separators=(",", ":")).replace('],"', '],\n"') + "\n", encoding="utf-8")


def read_recording(file: Path) -> Recording:
    """Read a recording from a file.

    Raises:
        RecordError: it is missing, damaged or of an unknown schema.
    """
    try:
        data = parse(file.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise RecordError(f"{file} has schema {data['schema']}; this version reads {SCHEMA}")
        places = [Place(str(place["arm"]), cell_from_json(place["cell"])) for place in data["places"]]
        rounds = [
            {
                place: {key: value for key, value in zip(data["metrics"], figures, strict=True) if value is not None}
                for place, figures in zip(places, found, strict=True)
            }
            for found in data["rounds"]
        ]
        seconds = [float(value) for value in data["seconds"]]
        if not rounds or len(rounds) != len(seconds):
            raise RecordError(f"{file} has {len(rounds)} rounds and {len(seconds)} times")
        texts = (data["command"], data["overrides"], data["environment"], data["recorded_at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{file} is not a recording of bench.studies.power: {error!r}") from error
    return Recording(*texts, rounds, seconds)
