"""What the strategies cost where this project was measured: ``reference.json``, made from a run of the bench."""

import os

from .errors import LoaderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

FORMAT: "Final" = 2
"""Version of the file; others are not read."""

PATH: "Final" = os.path.join(os.path.dirname(__file__), "reference.json")

_FIGURES: "Final" = (
    ("results_ms", "results after {} ms"),
    ("total_ms", "first vector after {} ms{}"),
    ("init_ms", "init {} ms"),
    ("peak_mib", "peak {} MiB"),
)
"""The figures shown, and how; the second placeholder is the ratio."""


class MeasuredUse:
    """What suited a use.

    Attributes:
        use: its key, such as ``"service"``.
        title: for people.
        choice: the strategy, with its engine if several were measured; None if none was recommended.
        why: in a few sentences.
        figures: what the choice costs, in words; "" without a choice.
    """

    __slots__ = ("choice", "figures", "title", "use", "why")

    def __init__(self, use: str, title: str, choice: str | None, why: str, figures: str) -> None:
        self.use = use
        self.title = title
        self.choice = choice
        self.why = why
        self.figures = figures


class MeasuredModel:
    """What suited each use of a model.

    Attributes:
        name: the model's.
        key: a short name.
        uses: in the order of the file.
        costs: what each strategy costs, by its name, in a sentence.
    """

    __slots__ = ("costs", "key", "name", "uses")

    def __init__(self, name: str, key: str, uses: list[MeasuredUse], costs: dict[str, str]) -> None:
        self.name = name
        self.key = key
        self.uses = uses
        self.costs = costs

    def is_called(self, name: str) -> bool:
        """Whether this is the model's name, its last part, or its short name."""
        return name.lower() in {self.name.lower(), self.name.rpartition("/")[2].lower(), self.key.lower()}


class Reference:
    """The file.

    Attributes:
        measured_on: where, with what and when, in words.
        where_and_when: the same in short: the processor and the date.
        models: in the order of the file.
    """

    __slots__ = ("measured_on", "models", "where_and_when")

    def __init__(self, measured_on: str, where_and_when: str, models: list[MeasuredModel]) -> None:
        self.measured_on = measured_on
        self.where_and_when = where_and_when
        self.models = models


def read_reference(path: str | None = None) -> Reference:
    """Return what was measured.

    Args:
        path: of the file; None for the one that came with this package.

    Raises:
        LoaderError: the file is missing, damaged or of another version.
    """
    import json

    path = path or PATH
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if data["schema"] != FORMAT:
            raise LoaderError(f"{path} has format {data['schema']!r}, and this version reads {FORMAT}. {_ADVICE}")
        measured = data["measured"]
        short = f"{measured['processor']}, {measured['date']}"
        return Reference(_measured_on(measured), short, [_model(model) for model in data["models"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LoaderError(f"{path} cannot be read ({type(error).__name__}: {error}). {_ADVICE}") from error


_ADVICE = "Only these figures are missing; reinstall this package to get them back."


def _measured_on(measured: "dict[str, Any]") -> str:
    packages = measured["packages"]
    versions = [f"{name} {packages[name]}" for name in ("numpy", "torch", "onnxruntime") if packages.get(name)]
    count = measured["processors"]
    told = [
        measured["processor"],
        f"{count} processor{'' if count == 1 else 's'}" if count else None,
        measured["system"],
        measured["python"],
        *versions,
        f"up to {measured['rounds']} samples each",
        measured["date"],
    ]
    return ", ".join(str(part) for part in told if part)


def _model(model: "dict[str, Any]") -> MeasuredModel:
    by_name = {strategy["name"]: strategy for strategy in model["strategies"]}
    uses = []
    for use in model["uses"]:
        choice = use["choice"]
        figures = "" if choice is None else _figures(by_name[choice])
        uses.append(MeasuredUse(str(use["use"]), str(use["title"]), choice, str(use["why"]), figures))
    costs = {str(name): _cost(strategy) for name, strategy in by_name.items()}
    return MeasuredModel(str(model["model"]), str(model["key"]), uses, costs)


def _cost(strategy: "dict[str, Any]") -> str:
    """Return what a strategy costs in a sentence, its figures rounded."""
    total, times, peak = (strategy[key] for key in ("total_ms", "times_faster", "peak_mib"))
    parts = [] if total is None else [f"first vector after {_show(total)} ms"]
    if times:
        parts.append(f"{times:,.0f} times faster than plain sentence-transformers")
    if peak is not None:
        parts.append(f"{peak:,.0f} MiB at most")
    return ", ".join(parts)


def _figures(strategy: "dict[str, Any]") -> str:
    ratio = strategy["ratio_to_baseline"]
    share = "" if ratio is None else f" ({ratio * 100:.1f} % of plain sentence-transformers')"
    return ", ".join(text.format(_show(strategy[key]), share) for key, text in _FIGURES if strategy[key] is not None)


def _show(value: float) -> str:
    """Return a figure with as many digits as the reports have."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
