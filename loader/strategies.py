"""The strategies, as one table: when a load begins, and which stages it goes through in which order.

A strategy has no code of its own. Adding one means adding a member, a row, ``conf/strategy/<name>.yaml`` and a row in
``docs/reference/strategies.md``; the contract tests pick it up from here.
"""

from enum import StrEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    Trigger = Literal["request", "start"]
    Stage = Literal["metadata", "tokenizer", "engine", "warm_up"]


class LoadingStrategy(StrEnum):
    """When, and in which order, the parts of a model load."""

    LAZY = "lazy"
    BACKGROUND = "background"
    PROGRESSIVE = "progressive"


class StrategySpec:
    """One row of the table. Immutable by convention; a dataclass would cost 14 ms of imports.

    Attributes:
        trigger: ``"start"`` begins the load in ``start_loading()``, ``"request"`` when a provider is first asked for.
        stages: names of the functions in ``loader.stages``, in order; the provider is published by ``engine``.
        precision: the precision that the engine must offer, such as ``"float32"``.
        summary: one line for help texts.
    """

    __slots__ = ("precision", "stages", "summary", "trigger")

    def __init__(self, trigger: "Trigger", stages: "tuple[Stage, ...]", precision: str, summary: str) -> None:
        self.trigger = trigger
        self.stages = stages
        self.precision = precision
        self.summary = summary


STRATEGIES: "Final[dict[LoadingStrategy, StrategySpec]]" = {
    LoadingStrategy.LAZY: StrategySpec(
        trigger="request",
        stages=("engine",),
        precision="float32",
        summary="nothing happens before the first request, which then waits for the whole load",
    ),
    LoadingStrategy.BACKGROUND: StrategySpec(
        trigger="start",
        stages=("engine", "warm_up"),
        precision="float32",
        summary="a thread loads the model from start_loading() on; the first request waits for what is left",
    ),
    LoadingStrategy.PROGRESSIVE: StrategySpec(
        trigger="start",
        stages=("metadata", "tokenizer", "engine", "warm_up"),
        precision="float32",
        summary="like background, but metadata and tokenizer become usable first, long before the model",
    ),
}
