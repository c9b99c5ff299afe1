"""The machine, the versions and what was held fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import escape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    return describe(context.manifest)


def describe(manifest: Mapping[str, Any]) -> str:
    """Return the section for the manifest of any kind of run; not every kind has a protocol."""
    environment, protocol = manifest["environment"], manifest.get("protocol")
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    rows = {
        "Processor": f"{environment['processor']}, {environment['processors_usable']} usable",
        "Memory": f"{environment['memory_bytes'] / 2**30:.1f} GiB",
        "System": f"{environment['system']} ({environment['machine']}), {environment['python']}",
        "Packages": packages,
        "Load at start": str(environment["load_average_1min"]),
        "Models from": ", ".join(f"{name} ({origin})" for name, origin in manifest["models"].items()),
        "Fixed": ", ".join(f"{name}={value}" for name, value in manifest["variables"].items()),
    }
    if protocol is not None:
        rows["Protocol"] = (
            f"{protocol['name']}: {protocol['warmup_rounds']} warm-up and up to {protocol['rounds']} counted "
            f"rounds in {protocol['budget_s']:g} s, seed {manifest['seed']}"
        )
    return "## Environment\n\n" + "\n".join(f"- {name}: {escape(value)}" for name, value in rows.items())
