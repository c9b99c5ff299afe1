"""The machine, the versions and what was held fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import escape

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    environment, protocol = context.manifest["environment"], context.manifest["protocol"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    rows = {
        "Processor": f"{environment['processor']}, {environment['processors_usable']} usable",
        "Memory": f"{environment['memory_bytes'] / 2**30:.1f} GiB",
        "System": f"{environment['system']} ({environment['machine']}), {environment['python']}",
        "Packages": packages,
        "Load at start": str(environment["load_average_1min"]),
        "Models from": ", ".join(f"{name} ({origin})" for name, origin in context.manifest["models"].items()),
        "Fixed": ", ".join(f"{name}={value}" for name, value in context.manifest["variables"].items()),
        "Protocol": f"{protocol['name']}: {protocol['warmup_rounds']} warm-up and up to {protocol['rounds']} counted "
        f"rounds in {protocol['budget_s']:g} s, seed {context.manifest['seed']}",
    }
    return "## Environment\n\n" + "\n".join(f"- {name}: {escape(value)}" for name, value in rows.items())
