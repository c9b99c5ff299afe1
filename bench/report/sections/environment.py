"""The machines, the versions and what was held fixed."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from bench.report.document import Prose, Section, escape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bench.report.context import Context


def render(context: Context) -> Section:
    """Return the section."""
    environments = context.manifest["environments"]
    if len(environments) == 1:
        return describe(context.manifest)
    parts = [
        f"- {context.machine_name(machine)}\n{indent(_list(_machine(environment)), '  ')}"
        for machine, environment in environments.items()
    ]
    parts.append(f"- All machines\n{indent(_list(_settings(context.manifest)), '  ')}")
    apart = "Figures of different machines are not compared with each other."
    return Section("Environment", (Prose(f"{apart}\n\n" + "\n".join(parts)),))


def describe(manifest: Mapping[str, Any]) -> Section:
    """Return the section for the manifest of any kind of run on one machine."""
    (environment,) = manifest["environments"].values()
    return Section("Environment", (Prose(_list(_machine(environment) | _settings(manifest))),))


def _machine(environment: Mapping[str, Any]) -> dict[str, str]:
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    return {
        "Processor": f"{environment['processor']}, {environment['processors_usable']} usable",
        "Memory": f"{environment['memory_bytes'] / 2**30:.1f} GiB",
        "System": f"{environment['system']} ({environment['machine']}), {environment['python']}",
        "Packages": packages,
        "Load at start": str(environment["load_average_1min"]),
    }


def _settings(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return what was fixed; not every kind of run has a protocol."""
    rows = {
        "Models from": ", ".join(f"{name} ({origin})" for name, origin in manifest["models"].items()),
        "Fixed": ", ".join(f"{name}={value}" for name, value in manifest["variables"].items()),
    }
    protocol = manifest.get("protocol")
    if protocol is not None:
        rounds = f"{protocol['warmup_rounds']} warm-up and up to {protocol['rounds']} counted rounds"
        rows["Protocol"] = f"{protocol['name']}: {rounds} in {protocol['budget_s']:g} s, seed {manifest['seed']}"
        if manifest.get("precision") is not None:
            rows["Protocol"] += f", until every ratio is known to {manifest['precision']:.1%} to either side"
    return rows


def _list(rows: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {escape(value) or '-'}" for name, value in rows.items())
