"""What ``doctor`` prints: a screen of 80 x 24 characters, or everything."""

import os
import textwrap

from ..model.source import shown_path
from ..profile import SMALL_MEMORY_MB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Final

_COLUMNS: "Final" = 80
_LABEL: "Final" = 22
_FULL_INDENT, _FULL_WIDTH = 28, 120

_USED_FOR: "Final" = {
    "native": "builds the kernel",
    "numpy": "default engine",
    "onnx": "for many texts",
    "sentence_transformers": "PyTorch: large",
}
"""What a command that installs an engine is for, in at most 17 characters: it is the comment after it."""
_BRINGS_COMPILER: "Final" = "downloads 100 MB"
_ADVICE: "Final" = {
    "progressive": "loads while your program goes on, at full precision",
    "quantized": f"8-bit weights: less than {SMALL_MEMORY_MB} MiB is available",
}


def screen(facts: "dict[str, Any]") -> str:
    """Return the short report: at most 80 columns and 24 lines, whatever is in it."""
    first = (
        f"loader {facts['version']}, Python {facts['python']}, {facts['platform']}, {facts['processors']} processors, "
        f"{facts['available_memory_mb']:,.0f} MiB available"
    )
    lines = [_fitted(first, _COLUMNS), "", "Works", *_works(facts)]
    for heading, rows in (("Missing", _missing(facts)), ("Optional", _optional(facts))):
        found = list(rows)
        lines += ["", heading, *found] if found else []
    strategy, measured = facts["recommendation"]["strategy"], facts["measured"]
    lines += ["", "Recommended", *_row(strategy, _ADVICE[strategy])]
    cost = measured["costs"].get(strategy)
    if cost:
        model = measured["model"].rpartition("/")[2]
        lines += _row("measured", f"{cost} ({model}, {measured['in_short']})", 3)
    else:
        lines += _row("measured", measured["problem"] or f"nothing for {strategy}", 3)
    return "\n".join([*lines, "", "More: --verbose, --json. Measure this machine: python -m bench"])


def _works(facts: "dict[str, Any]") -> "Iterator[str]":
    for engine in facts["engines"]:
        if not engine["missing"]:
            yield from _row(engine["name"], _versions(engine))
    model, *others = facts["models"]
    if model["path"]:
        yield from _row(
            model["name"].rpartition("/")[2], f"{model['origin']}, {shown_path(_place(model))}{_open_to(model)}"
        )
    here = [other["name"].rpartition("/")[2] for other in others if other["path"]]
    if here:
        yield from _row("other models", ", ".join(here))
    if facts["downloads_allowed"]:
        yield from _row("downloads", f"allowed, to {shown_path(facts['hub_caches'][-1]['path'])}")
    else:
        yield from _row("downloads", f"not allowed ({facts['downloads_forbidden_by']} is set)")


def _missing(facts: "dict[str, Any]") -> "Iterator[str]":
    yield from _installs(engine for engine in facts["engines"] if engine["name"] == "numpy")
    model = facts["models"][0]
    label = model["name"].rpartition("/")[2]
    if model["problem"]:
        yield from _row(label, model["problem"], 2)
    elif not model["path"]:
        yield from _row(
            label, "downloaded on first use, or now:" if facts["downloads_allowed"] else "not here; get it:"
        )
        # A command cannot be shortened: a name that is too long is left for the reader to fill in.
        fits = len(model["command"]) <= _COLUMNS - 4
        yield f"    {model['command'] if fits else 'python -m loader embed hello --model NAME'}"
    caches = (*facts["hub_caches"], facts["cache"])
    unwritable = [shown_path(cache["path"]) for cache in caches if cache["state"] == "read-only"]
    if unwritable:
        yield from _row("write access", f"to {', '.join(unwritable)}")


def _optional(facts: "dict[str, Any]") -> "Iterator[str]":
    yield from _installs(engine for engine in facts["engines"] if engine["name"] != "numpy")


def _installs(engines: "Iterable[dict[str, Any]]") -> "Iterator[str]":
    """Return a command for each engine that is missing, which a shell can run as it stands."""
    for engine in engines:
        if engine["missing"]:
            has_compiler = not engine["command"].endswith("--ziglang")
            yield f"  {engine['command']:57}  # {_USED_FOR[engine['name']] if has_compiler else _BRINGS_COMPILER}"


def _place(model: "dict[str, Any]") -> str:
    """Return where a model is: of a hub cache its root, which says as much as the folder deep inside."""
    path: str = model["path"]
    return path.rpartition(f"{os.sep}models--")[0] if model["origin"] == "hub cache" else path


def _open_to(model: "dict[str, Any]") -> str:
    return f" (writable by {model['writable_by']})" if model["writable_by"] else ""


def _row(label: str, text: str, most: int = 1) -> list[str]:
    """Return a label and its text in at most so many lines; one line is shortened in its middle, as suits paths."""
    width, text = _COLUMNS - _LABEL - 2, _printable(text)
    lines = [_fitted(text, width)]
    if most > 1:
        lines = textwrap.wrap(text, width, max_lines=most, placeholder=" ...", break_on_hyphens=False)
    labels = [_fitted(label, _LABEL - 1), *[""] * (len(lines) - 1)]
    return [f"  {label:{_LABEL}}{line}" for label, line in zip(labels, lines, strict=True)]


def _fitted(text: str, width: int) -> str:
    """Return a text in one line, shortened in its middle."""
    text = _printable(text)
    if len(text) <= width:
        return text
    head = (width - 3) // 2
    return f"{text[:head]}...{text[head + 3 - width :]}"


def _printable(text: str) -> str:
    """Return a text with one ASCII character for each that has no width, or two columns, or cannot be printed."""
    return "".join(character if character.isprintable() and ord(character) < 0x300 else "?" for character in text)


def full_report(facts: "dict[str, Any]") -> str:
    """Return the long report."""
    lines = [*_machine(facts), *_places(facts), *_recommendation(facts), *_measured(facts)]
    return "\n".join(lines)


def _machine(facts: "dict[str, Any]") -> "Iterator[str]":
    yield "\nMachine"
    yield _full("loader", f"{facts['version']}, Python {facts['python']}, {facts['platform']}")
    yield _full("processors", facts["processors"])
    yield _full("memory", f"{facts['available_memory_mb']:,.0f} MiB available")
    yield _full("CUDA, MPS", ", ".join("yes" if facts[key] else "no" for key in ("has_cuda", "has_mps")))
    yield "\nEngines"
    for engine in facts["engines"]:
        advice = f"{engine['problem'] or 'missing ' + ', '.join(engine['missing'])}: {engine['command']}"
        yield _full(engine["name"], advice if engine["missing"] else _versions(engine))


def _places(facts: "dict[str, Any]") -> "Iterator[str]":
    yield "\nModels"
    for model in facts["models"]:
        where = f"{model['origin']}, {model['path']}{_open_to(model)}" if model["path"] else "not on this machine"
        yield _full(model["name"].rpartition("/")[2], model["problem"] or where)
        if model["tokenizer"]:
            yield _more(f"tokenizer: {model['tokenizer']}")
    yield _full("hub caches", ", ".join(f"{cache['path']} ({cache['state']})" for cache in facts["hub_caches"]))
    yield _full("own cache", f"{facts['cache']['path']} ({facts['cache']['state']})")
    allowed = "allowed" if facts["downloads_allowed"] else f"not allowed ({facts['downloads_forbidden_by']} is set)"
    yield _full("downloads", allowed)


def _recommendation(facts: "dict[str, Any]") -> "Iterator[str]":
    advice = facts["recommendation"]
    yield "\nRecommendation"
    yield _full("strategy", f"{advice['strategy']} ({advice['reason']})")
    yield _full("device", advice["device"])
    yield _full("batch size", advice["batch_size"])


def _measured(facts: "dict[str, Any]") -> "Iterator[str]":
    measured = facts["measured"]
    if measured["problem"]:
        yield _full("measured figures", measured["problem"])
        return
    yield f"\nWhat suited {measured['model'].rpartition('/')[2]} where it was measured"
    for use in measured["uses"]:
        title = use["title"][:1].lower() + use["title"][1:]
        yield _full(title, f"{use['choice']}: {use['figures']}" if use["choice"] else "not known")
        yield _more(use["why"])
        if use["use"] == "small_machine" and facts["available_memory_mb"] < SMALL_MEMORY_MB:
            yield _more("Memory is short on this machine: use this one.")
    yield _full("measured on", measured["on"])
    yield _more("All figures: reports/reference in the project's repository. Yours: python -m bench")
    if measured["others"]:
        names = ", ".join(name.rpartition("/")[2] for name in measured["others"])
        yield _full("other models", f"{names} (--model NAME)")


def _full(name: str, value: object) -> str:
    return f"  {name + ':':26}{value}"


def _more(text: str) -> str:
    """Return what belongs to the row above."""
    indent = " " * _FULL_INDENT
    return textwrap.fill(text, _FULL_WIDTH, initial_indent=indent, subsequent_indent=indent)


def _versions(engine: "dict[str, Any]") -> str:
    return ", ".join(f"{package} {version}" for package, version in engine["versions"].items())
