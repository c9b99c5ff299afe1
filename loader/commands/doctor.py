"""show what this machine offers, what is installed and where models and caches are.

The report recommends a strategy and says why.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: "ArgumentParser") -> None:
    """Add nothing: the command has no arguments."""


def run(options: "Namespace") -> None:  # noqa: ARG001 - the commands' protocol
    """Print the report."""
    import platform
    import sys

    from .. import __version__
    from ..engines import ENGINES
    from ..hubcache import cache_roots
    from ..known_models import KNOWN_MODELS
    from ..paths import cache_folder
    from ..profile import ResourceProfile
    from ..source import downloads_allowed, find

    profile = ResourceProfile.detect()
    _section("Machine")
    _row("loader", f"{__version__}, Python {platform.python_version()}, {sys.platform}")
    _row("processors", profile.cpu_count)
    _row("memory", f"{profile.available_memory_mb:,.0f} MiB available")
    _row("CUDA, MPS", f"{_yes(profile.has_cuda)}, {_yes(profile.has_mps)}")

    _section("Engines")
    for spec in ENGINES:
        missing = spec.missing()
        advice = f"missing {', '.join(missing)}: python -m pip install 'optimized-embedding-loader[{spec.extra}]'"
        _row(spec.name, advice if missing else _versions(spec.requires))

    _section("Models")
    for name in KNOWN_MODELS:
        folder = find(name)
        _row(name.rpartition("/")[2], f"{folder.origin}, {folder.path}" if folder else "not on this machine")
    _row("hub caches", ", ".join(f"{root} ({_state(root)})" for root in cache_roots()))
    _row("own cache", f"{cache_folder()} ({_state(cache_folder())})")
    _row("downloads", "allowed" if downloads_allowed() else "not allowed (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)")

    _section("Recommendation")
    _row("strategy", f"{profile.recommended_strategy.value} ({profile.reason})")
    _row("device", profile.recommended_device)
    _row("batch size", profile.recommended_batch_size)


def _section(title: str) -> None:
    print(f"\n{title}")


def _row(name: str, value: object) -> None:
    print(f"  {name + ':':26}{value}")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _state(folder: str) -> str:
    if not os.path.isdir(folder):
        return "not there yet"
    return "writable" if os.access(folder, os.W_OK) else "read-only"


def _versions(packages: tuple[str, ...]) -> str:
    from importlib import metadata

    return ", ".join(f"{package} {metadata.version(package)}" for package in packages)
