"""The machines, the versions and what was held fixed."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from bench.data.environment import Environment
from bench.report.document import Prose, Section, escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.data.manifest import Manifest
    from bench.stats.context import Context


def render(context: Context) -> Section:
    """Return the section."""
    environments = context.manifest.environments
    if len(environments) == 1:
        return describe(context.manifest)
    parts = [
        f"- {context.machine_name(machine)}\n{indent(_list(_machine(environment)), '  ')}"
        for machine, environment in environments.items()
    ]
    parts.append(f"- All machines\n{indent(_list(_settings(context.manifest)), '  ')}")
    apart = "Figures of different machines are not compared with each other."
    return Section("Environment", (Prose(f"{apart}\n\n" + "\n".join(parts)),))


def describe(manifest: Manifest) -> Section:
    """Return the section for the manifest of any kind of run on one machine."""
    environment = next(iter(manifest.environments.values()), Environment())
    return Section("Environment", (Prose(_list(_machine(environment) | _settings(manifest))),))


def _machine(environment: Environment) -> dict[str, str]:
    memory, load = environment.memory_bytes, environment.load_average_1min
    return {
        "Processor": f"{_known(environment.processor)}, {_known(environment.processors_usable)} usable",
        "Memory": _known(None if memory is None else f"{memory / 2**30:.1f} GiB"),
        "System": f"{_known(environment.system)} ({_known(environment.machine)}), {_known(environment.python)}",
        "Packages": ", ".join(f"{name} {version}" for name, version in environment.installed.items()),
        "Load at start": _known(load),
    }


def _known(value: float | str | None) -> str:
    return "unknown" if value is None else str(value)


def _settings(manifest: Manifest) -> dict[str, str]:
    """Return what was fixed; not every kind of run has a protocol."""
    rows = {
        "Models from": ", ".join(f"{name} ({origin})" for name, origin in manifest.models.items()),
        "Fixed": ", ".join(f"{name}={value}" for name, value in manifest.variables.items()),
    }
    protocol = manifest.protocol
    if protocol is not None:
        rounds = f"{_known(protocol.warmup_rounds)} warm-up and up to {_known(protocol.rounds)} counted rounds"
        budget = "unknown" if protocol.budget_s is None else f"{protocol.budget_s:g}"
        rows["Protocol"] = f"{_known(protocol.name)}: {rounds} in {budget} s, seed {_known(manifest.seed)}"
        if manifest.precision is not None:
            rows["Protocol"] += f", or until every ratio is known within ±{manifest.precision * 100:.1f} %"
    return rows


def _list(rows: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {escape(value) or '-'}" for name, value in rows.items())
