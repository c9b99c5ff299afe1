"""A machine and the versions on it, as manifests describe them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.data.fields import Fields, to_json
from bench.data.json_text import is_text_or_null

PROJECT = "optimized-embedding-loader"
"""This project's distribution, whose versions are compared with each other."""


@dataclass(frozen=True)
class Environment:
    """A machine, without its name and without paths. What a file does not tell is None.

    Attributes:
        system: the operating system and its release.
        machine: the kind of processor, such as ``x86_64``.
        processor: its model.
        processors_usable: how many of them a process may use.
        memory_bytes: of the whole machine.
        python: implementation and version.
        packages: version of each distribution, None for one that is not installed.
        load_average_1min: how busy the machine was before the run.
        rest: other fields of the file.
    """

    system: str | None = None
    machine: str | None = None
    processor: str | None = None
    processors_usable: int | None = None
    memory_bytes: int | None = None
    python: str | None = None
    packages: Mapping[str, str | None] | None = None
    load_average_1min: float | None = None
    rest: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_fields(cls, fields: Fields) -> Environment:
        """Return what an object of a manifest describes.

        Raises:
            RecordError: a field has the wrong type.
        """
        return cls(
            system=fields.text("system"),
            machine=fields.text("machine"),
            processor=fields.text("processor"),
            processors_usable=fields.integer("processors_usable"),
            memory_bytes=fields.integer("memory_bytes"),
            python=fields.text("python"),
            packages=fields.mapping("packages", "a version or null", is_text_or_null),
            load_average_1min=fields.number("load_average_1min"),
            rest=fields.rest(),
        )

    def to_json(self) -> dict[str, object]:
        """Return the fields as they are in a manifest."""
        return to_json(self)

    @property
    def fingerprint(self) -> str:
        """Of machine and versions: figures with different fingerprints are not compared."""
        fixed = {key: value for key, value in self.to_json().items() if key != "load_average_1min"}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def comparable(self) -> str:
        """The fingerprint without this project's version: if it matches, only that version differs."""
        return replace(self, packages=self.dependencies).fingerprint

    @property
    def installed(self) -> dict[str, str]:
        """The version of each installed distribution."""
        return {name: version for name, version in (self.packages or {}).items() if version}

    @property
    def dependencies(self) -> dict[str, str | None]:
        """The packages without this project."""
        return {name: version for name, version in (self.packages or {}).items() if name != PROJECT}

    @property
    def facts(self) -> dict[str, object]:
        """Everything that ``comparable`` covers, by name and in the order of names; then the packages."""
        others = sorted(self.to_json().items())
        return {key: value for key, value in others if key not in {"packages", "load_average_1min"}} | self.dependencies
