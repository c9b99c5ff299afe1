"""show what this machine offers, what is installed and where models and caches are.

The report recommends a strategy and says why, and what suited four uses where the project was measured.
"""

import os

from ..arguments import DEFAULT_MODEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..reference import MeasuredUse

_INDENT, _WIDTH = 28, 120


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=DEFAULT_MODEL,
        help="whose measured figures are shown (default: %(default)s)",
    )


def run(options: "Namespace") -> None:
    """Print the report."""
    import platform
    import sys

    from .. import __version__
    from ..engines import ENGINES
    from ..hubcache import cache_roots
    from ..known_models import KNOWN_MODELS
    from ..paths import cache_folder
    from ..profile import SMALL_MEMORY_MB, ResourceProfile
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
    _measured(options.model, is_small=profile.available_memory_mb < SMALL_MEMORY_MB)


def _measured(name: str, *, is_small: bool) -> None:
    """Print what suited each use where it was measured; a file that cannot be read is a row."""
    from ..errors import LoaderError
    from ..reference import read_reference

    try:
        reference = read_reference()
    except LoaderError as error:
        _row("measured figures", error)
        return
    model = next((model for model in reference.models if model.is_called(name)), None)
    others = [other.name.rpartition("/")[2] for other in reference.models if other is not model]
    if model is None:
        _row("measured figures", f"none of {name}; there are some of {', '.join(others) or 'no model'}")
        return
    _section(f"What suited {model.name.rpartition('/')[2]} where it was measured")
    for use in model.uses:
        _use(use)
        if is_small and use.use == "small_machine":
            _more("Memory is short on this machine: take this one.")
    _row("measured on", reference.measured_on)
    _more("All figures: reports/reference in the project's repository. Yours: python -m bench")
    if others:
        _row("other models", f"{', '.join(others)} (--model NAME)")


def _use(use: "MeasuredUse") -> None:
    _row(use.title[:1].lower() + use.title[1:], f"{use.choice}: {use.figures}" if use.choice else "not known")
    _more(use.why)


def _more(text: str) -> None:
    """Print what belongs to the row above."""
    import textwrap

    print(textwrap.fill(text, _WIDTH, initial_indent=" " * _INDENT, subsequent_indent=" " * _INDENT))


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
