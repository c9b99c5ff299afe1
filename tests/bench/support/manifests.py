"""Manifests from plain fields, as they are in the file: what a test says of a run, also what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.data.environment import Environment
from bench.data.fields import Fields
from bench.data.manifest import MANIFEST_SCHEMA, Manifest

if TYPE_CHECKING:
    from pathlib import Path


def manifest_of(fields: dict) -> Manifest:
    """Return the manifest with these fields."""
    return Manifest.from_json(fields)


def environment_of(fields: dict) -> Environment:
    """Return the environment with these fields."""
    return Environment.from_fields(Fields(fields))


def write_manifest(path: Path, fields: dict) -> None:
    """Write a file with these fields, whatever they are."""
    path.write_text(json.dumps({"schema": MANIFEST_SCHEMA, **fields}, indent=2, sort_keys=True) + "\n")


def fingerprint(environment: dict) -> str:
    """Return the fingerprint of an environment with these fields."""
    return environment_of(environment).fingerprint
