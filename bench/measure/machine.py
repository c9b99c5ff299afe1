"""This machine, these versions and this command, as the manifest of a run describes them."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import psutil

from bench.data.environment import PROJECT, Environment

if TYPE_CHECKING:
    from collections.abc import Iterable

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
"""Distributions whose versions help to explain a figure."""


def describe_environment() -> Environment:
    """Describe this machine, without its name and without paths."""
    memory = psutil.virtual_memory()
    return Environment(
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        processor=_processor(),
        processors_usable=processors_usable(),
        memory_bytes=memory.total,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: _version(name) for name in PACKAGES},
        load_average_1min=round(psutil.getloadavg()[0], 2),
    )


def processors_usable() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def passed_variables(names: Iterable[str]) -> dict[str, str]:
    """Return the caller's variables that a run was told to pass on."""
    return {name: os.environ[name] for name in names if name in os.environ}


def command_line() -> str:
    """Return the command that repeats this run."""
    arguments = [word for word in sys.argv[1:] if not word.startswith("run_name=")]
    return shlex.join(["python", "-m", "bench", *arguments])


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
