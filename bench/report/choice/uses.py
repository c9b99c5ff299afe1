"""What a strategy is needed for, which one is the default for it, and which figure can overrule that: one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Criterion:
    """A figure that can decide.

    Attributes:
        key: of a metric.
        scenarios: where the metric is looked for; the first that was measured counts.
    """

    key: str
    scenarios: tuple[str, ...]


@dataclass(frozen=True)
class Use:
    """What a strategy is needed for.

    Attributes:
        key: for files.
        title: for people.
        meaning: what is typical of it.
        order: strategies, the default first; the next one stands in for a default that was not measured.
        criteria: the first that was measured decides, alone.
        exact: whether vectors must equal the original's.
    """

    key: str
    title: str
    meaning: str
    order: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    exact: bool = False


ONE_SHOT = ("at_once", "idle")
"""Where to look at a process that asks once."""

PRELOADED = ("idle", "at_once")
"""Where to look at a process that waits until the model is ready."""

ANY = (*PRELOADED, "think_time")
"""Where to look at memory and init time, which do not depend on when the request comes."""

USES = (
    Use(
        "command_line_tool",
        "A command line tool",
        "one process, one query, and a person waiting for the result",
        ("progressive", "background", "cached", "lazy", "quantized"),
        (Criterion("results_ms", ("search_command",)), Criterion("total_ms", ONE_SHOT)),
    ),
    Use(
        "service",
        "A server",
        "starts once, loads the model, then answers for hours",
        ("background", "progressive", "cached", "lazy"),
        (Criterion("first_embedding_ms", ("idle",)), Criterion("total_ms", PRELOADED)),
        exact=True,
    ),
    Use(
        "test_suite",
        "A test suite",
        "the model loads while pytest collects",
        ("progressive", "background", "cached", "lazy"),
        (Criterion("first_embedding_ms", ("think_time",)), Criterion("first_embedding_ms", ("idle",))),
        exact=True,
    ),
    Use(
        "small_machine",
        "A small machine",
        "little memory",
        ("quantized", "progressive", "background", "cached", "lazy"),
        (Criterion("peak_mib", ANY),),
    ),
)
