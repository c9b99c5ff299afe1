"""The strategies, as one table: when a load begins, and which stages it goes through in which order.

A strategy has no code of its own; what SERVICE attaches to is in ``loader.service``. Adding one means adding a member,
a row, ``conf/strategy/<name>.yaml`` and a row in ``docs/reference/strategies.md``; the contract tests pick it up from
here.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    Trigger = Literal["request", "start"]
    Stage = Literal["metadata", "tokenizer", "engine", "artifact", "warm_up", "service"]


PRECISIONS: "Final" = ("float32", "int8")
"""What weights may be stored as."""


class StrategySpec:
    """One row of the table. Immutable by convention; a dataclass would cost 14 ms of imports.

    Attributes:
        trigger: ``"start"`` begins the load in ``start_loading()``, ``"request"`` when a provider is first asked for.
        stages: names of the functions in ``loader.stages``, in order; the provider is published by ``engine``.
        precision: the precision that the engine must offer, such as ``"float32"``.
        summary: one line for help texts.
        upgrades: whether a provider that is asked for many vectors moves to an engine of higher throughput; see
            ``loader.upgrade``.
    """

    __slots__ = ("precision", "stages", "summary", "trigger", "upgrades")

    def __init__(
        self,
        trigger: "Trigger",
        stages: "tuple[Stage, ...]",
        precision: str,
        summary: str,
        *,
        upgrades: bool = False,
    ) -> None:
        self.trigger = trigger
        self.stages = stages
        self.precision = precision
        self.summary = summary
        self.upgrades = upgrades


STRATEGIES: "Final[dict[str, StrategySpec]]" = {
    "lazy": StrategySpec(
        trigger="request",
        stages=("engine",),
        precision="float32",
        summary="nothing happens before the first request, which then waits for the whole load",
    ),
    "background": StrategySpec(
        trigger="start",
        stages=("engine", "warm_up"),
        precision="float32",
        summary="a thread loads the model from start_loading() on; the first request waits for what is left",
    ),
    "progressive": StrategySpec(
        trigger="start",
        stages=("metadata", "tokenizer", "engine", "warm_up"),
        precision="float32",
        summary="metadata, tokenizer and model in stages; bulk work moves to a faster engine where there is one",
        upgrades=True,
    ),
    "quantized": StrategySpec(
        trigger="start",
        stages=("metadata", "tokenizer", "engine", "warm_up"),
        precision="int8",
        summary="weights of 8 bits: the least memory; prepared once, at the first use",
    ),
    "cached": StrategySpec(
        trigger="start",
        stages=("metadata", "tokenizer", "engine", "warm_up", "artifact"),
        precision="float32",
        summary="what 'python -m loader compile' prepared: any architecture at once, and the highest throughput",
        upgrades=True,
    ),
    "service": StrategySpec(
        trigger="start",
        stages=("service",),
        precision="float32",
        summary="a process that keeps the model loaded answers; started for the next caller where none runs",
    ),
}
