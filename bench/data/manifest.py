"""The manifest: the machine, the versions and the command that a run was measured with.

``manifest.json`` in the folder of every run. Its types are checked once, here; fields that this version does not know
are kept, so that a manifest that is read and written again loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.data.environment import Environment
from bench.data.fields import Fields, to_json
from bench.data.json_text import is_integer, is_text, is_text_or_null, parse
from bench.data.manifest_parts import Preparation, Protocol, QualityTask, RecordedRevision
from bench.errors import RecordError
from bench.plan.cell import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST_SCHEMA = 2
"""2: ``run``, ``machine`` and ``environments`` (by fingerprint) replace ``environment``."""

WRITTEN_EMPTY: Mapping[str, object] = {
    "jobs": [],
    "models": {},
    "precision": None,
    "preparations": [],
    "revision": None,
}
"""What a run of start-up costs writes even if it is empty; the ``rest`` of a new manifest."""


@dataclass(frozen=True)
class Manifest:
    """The manifest of a run of any kind; what a kind does not have is None or empty.

    Attributes:
        run: identifies the run; "" in old ones, None in merged ones.
        machine: fingerprint of the machine; None if there are several.
        environments: what each fingerprint stands for.
        command: the command that repeats the run.
        revision: the measured commit.
        suite: the predefined sweep.
        variables: environment variables that were fixed for the measured processes.
        protocol: how often was measured; None if the merged runs differ.
        precision: the requested precision of every ratio, as a share.
        seed: of the order of the samples.
        jobs: configuration of each job, as ``bench.plan.config.to_plain`` returns it.
        cells: what was to be measured, in order.
        preparations: what was made before the first sample.
        models: where each model came from, by full name.
        beat_iterations: see ``bench.measure.sampler``.
        merged: what is specific to each of the merged runs.
        model_bytes: size of each model's weights, by full name.
        gate, arm, version: in an arm of a gate, the gate's identity, the arm's name and this project's version there.
        task: in a run of suite=quality, what was compared.
        kind, started_at, options, reference: in a load test, see ``bench.load.run``.
        rest: what else is in the file: fields that this version does not know, and those that are null or empty.
    """

    run: str | None = None
    machine: str | None = None
    environments: Mapping[str, Environment] = field(default_factory=dict)
    command: str | None = None
    revision: RecordedRevision | None = None
    suite: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    protocol: Protocol | None = None
    precision: float | None = None
    seed: int | None = None
    jobs: tuple[Mapping[str, object], ...] = ()
    cells: tuple[Cell, ...] = ()
    preparations: tuple[Preparation, ...] = ()
    models: Mapping[str, str | None] = field(default_factory=dict)
    beat_iterations: int | None = None
    merged: tuple[Manifest, ...] = ()
    model_bytes: Mapping[str, int] = field(default_factory=dict)
    gate: str | None = None
    arm: str | None = None
    version: str | None = None
    task: QualityTask | None = None
    kind: str | None = None
    started_at: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    reference: Mapping[str, object] = field(default_factory=dict)
    rest: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> Manifest:
        """Return the manifest that an object describes.

        Raises:
            RecordError: a field has the wrong type; the message begins with its name.
        """
        return cls(
            run=fields.text("run"),
            machine=fields.text("machine"),
            environments=fields.parts_by_name("environments", Environment.from_fields),
            command=fields.text("command"),
            revision=fields.part("revision", RecordedRevision.from_fields),
            suite=fields.text("suite"),
            variables=fields.mapping("variables", "a text", is_text) or {},
            protocol=fields.part("protocol", Protocol.from_fields),
            precision=fields.number("precision"),
            seed=fields.integer("seed"),
            jobs=fields.plains("jobs"),
            cells=fields.cells("cells"),
            preparations=fields.parts("preparations", Preparation.from_fields),
            models=fields.mapping("models", "a text or null", is_text_or_null) or {},
            beat_iterations=fields.integer("beat_iterations"),
            merged=fields.parts("merged", Manifest.from_fields),
            model_bytes=fields.mapping("model_bytes", "a whole number", is_integer) or {},
            gate=fields.text("gate"),
            arm=fields.text("arm"),
            version=fields.text("version"),
            task=fields.part("task", QualityTask.from_fields),
            kind=fields.text("kind"),
            started_at=fields.text("started_at"),
            options=fields.plain("options") or {},
            reference=fields.plain("reference") or {},
            rest=fields.rest(),
        )

    @classmethod
    def from_json(cls, data: object) -> Manifest:
        """Return the manifest that a parsed JSON object of the current schema describes; see ``from_fields``."""
        return cls.from_fields(Fields(data))

    def to_json(self) -> dict[str, object]:
        """Return the object that ``from_json`` was given."""
        return to_json(self)

    def to_text(self) -> str:
        """Return the text of the file; the same manifest gives the same text."""
        return json.dumps({**self.to_json(), "schema": MANIFEST_SCHEMA}, indent=2, sort_keys=True) + "\n"

    @property
    def runs(self) -> tuple[Manifest, ...]:
        """The runs that were merged, or this one alone."""
        return self.merged or (self,)

    @property
    def paired_by(self) -> str:
        """The gate that this is an arm of, whose arms were measured in the same rounds; "" for any other run."""
        return (self.gate or "") if self.arm else ""

    def lacking(self, names: Iterable[str]) -> list[str]:
        """Return which of these fields the file does not have; an empty list or object is there, null is not."""
        found = self.to_json()
        return [name for name in names if found.get(name) is None]


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a run of this or an earlier version.

    Raises:
        RecordError: it is missing, damaged or of an unknown schema.
    """
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}. Is it the folder of a run?") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema is None:
        raise RecordError(f"{path} cannot be read: it has no schema. Is it the folder of a run?")
    if not is_integer(schema) or not 1 <= schema <= MANIFEST_SCHEMA:
        raise RecordError(f"{path} has schema {schema}; this version reads up to {MANIFEST_SCHEMA}")
    try:
        return _upgraded(data) if schema == 1 else Manifest.from_json(_without(data, "schema"))
    except RecordError as error:
        raise RecordError(f"{path} is damaged: {error}. Leave the run out, or take another copy of it.") from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest of a run."""
    path.write_text(manifest.to_text(), encoding="utf-8")


def _upgraded(data: dict[str, object]) -> Manifest:
    """Return the manifest that an object of the first schema describes."""
    environment = Environment.from_fields(Fields(data.get("environment"), "environment"))
    read = Manifest.from_json(_without(data, "schema", "environment"))
    return replace(read, run="", machine="", environments={"": environment})


def _without(data: dict[str, object], *names: str) -> dict[str, object]:
    return {key: value for key, value in data.items() if key not in names}
