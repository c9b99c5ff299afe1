"""The manifest: on what, with what and by which command a run was measured."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import psutil

from bench.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MANIFEST_SCHEMA = 2
"""2: ``run``, ``machine`` and ``environments`` (by fingerprint) in the place of ``environment``."""

PROJECT = "optimized-embedding-loader"
"""The distribution of this project, whose versions are compared with each other."""

PACKAGES = (
    PROJECT,
    "sentence-transformers",
    "transformers",
    "torch",
    "tokenizers",
    "numpy",
    "onnxruntime",
    "huggingface-hub",
    "safetensors",
    "hydra-core",
)
"""Distributions whose versions explain a figure."""


def describe_environment() -> dict[str, Any]:
    """Return what this machine is, without its name and without paths."""
    memory = psutil.virtual_memory()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "processors_usable": processors_usable(),
        "memory_bytes": memory.total,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "load_average_1min": round(psutil.getloadavg()[0], 2),
    }


def processors_usable() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def passed_variables(names: Iterable[str]) -> dict[str, str]:
    """Return those variables of the caller that a run passes on because it was told to."""
    return {name: os.environ[name] for name in names if name in os.environ}


def fingerprint(environment: Mapping[str, Any]) -> str:
    """Return what tells machines and versions apart: figures of different fingerprints are not compared."""
    fixed = {key: value for key, value in environment.items() if key != "load_average_1min"}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:12]


def comparable(environment: Mapping[str, Any]) -> str:
    """Return the fingerprint without this project's version: of two runs that are alike in it, that is what differs."""
    packages = {name: version for name, version in environment.get("packages", {}).items() if name != PROJECT}
    return fingerprint({**environment, "packages": packages})


def command_line() -> str:
    """Return the command that repeats this run."""
    arguments = [word for word in sys.argv[1:] if not word.startswith("run_name=")]
    return shlex.join(["python", "-m", "bench", *arguments])


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a run."""
    text = json.dumps({"schema": MANIFEST_SCHEMA, **manifest}, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a run.

    Raises:
        RecordError: it is missing, damaged or of an unknown schema.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["schema"] == 1:
            environment = manifest.pop("environment")
            manifest |= {"run": "", "machine": "", "environments": {"": environment}}
        elif manifest["schema"] != MANIFEST_SCHEMA:
            raise RecordError(f"{path} has schema {manifest['schema']}, this version reads up to {MANIFEST_SCHEMA}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} cannot be read: {error}. Is it the folder of a run?") from error
    return dict(manifest)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a kernel file
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
