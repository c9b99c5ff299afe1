"""The strategies, as one table: when a load begins, and which stages it runs in which order.

Strategies have no code of their own, except that SERVICE uses ``loader.service``. To add one, add a member of
``LoadingStrategy``, a row here, ``conf/strategy/<name>.yaml`` and a row in ``docs/reference/strategies.md``; the
contract tests then include it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    Trigger = Literal["request", "start"]
    Stage = Literal["metadata", "tokenizer", "engine", "artifact", "warm_up", "service"]


class StrategySpec:
    """One row of the table. Immutable by convention; a dataclass would cost 14 ms of imports.

    Attributes:
        trigger: ``"start"`` begins the load in ``start_loading()``, ``"request"`` at the first request for a provider.
        stages: names of the functions in ``loader.loading.stages``, in order; ``engine`` publishes the provider.
        precision: the precision of the vectors, such as ``"float32"``; a service computes in others too, if asked to.
        summary: one line for help texts.
        upgrades: whether a provider that embeds many texts moves to an engine of higher throughput; see
            ``loader.loading.upgrade``.
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

    @property
    def computes_here(self) -> bool:
        """Whether the model is loaded into this process; otherwise a service has it."""
        return "service" not in self.stages


STRATEGIES: "Final[dict[str, StrategySpec]]" = {
    "lazy": StrategySpec(
        trigger="request",
        stages=("engine",),
        precision="float32",
        summary="loads at the first request, which waits for the whole load",
    ),
    "background": StrategySpec(
        trigger="start",
        stages=("engine", "warm_up"),
        precision="float32",
        summary="loads in a thread that start_loading() starts; the first request waits for the rest",
    ),
    "progressive": StrategySpec(
        trigger="start",
        stages=("metadata", "tokenizer", "engine", "warm_up"),
        precision="float32",
        summary="loads metadata, tokenizer and model in stages; moves bulk work to a faster engine if one is installed",
        upgrades=True,
    ),
    "quantized": StrategySpec(
        trigger="start",
        stages=("metadata", "tokenizer", "engine", "warm_up"),
        precision="int8",
        summary="8-bit weights, for the least memory; prepared once, at the first use",
    ),
    "cached": StrategySpec(
        trigger="start",
        stages=("metadata", "tokenizer", "engine", "warm_up", "artifact"),
        precision="float32",
        summary="uses what 'python -m loader compile' prepared: any architecture, fast start, highest throughput",
        upgrades=True,
    ),
    "service": StrategySpec(
        trigger="start",
        stages=("service",),
        precision="float32",
        summary="asks a process that keeps the model loaded; if none runs, starts one for the next caller",
    ),
}

STRATEGY_OF: "Final" = {STRATEGIES[name].precision: name for name in ("progressive", "quantized")}
"""By precision, the strategy that loads a model into this process for whoever has no other wish."""

PRECISIONS: "Final" = tuple(STRATEGY_OF)
"""How weights may be stored."""
