"""What somebody needs a strategy for, and what counts there: one table."""

from __future__ import annotations

from dataclasses import dataclass

COSINE = "cosine"
"""Key of the one criterion that is no metric: whether the vectors are as exact as the original's."""


@dataclass(frozen=True)
class Criterion:
    """What one step compares.

    Attributes:
        key: of a metric, or ``COSINE``.
        scenarios: where the metric is looked for; the first that was measured counts.
    """

    key: str
    scenarios: tuple[str, ...] = ()


@dataclass(frozen=True)
class Use:
    """What somebody needs a strategy for.

    Attributes:
        key: for files.
        title: for people.
        meaning: what is typical of it.
        criteria: the most important first.
    """

    key: str
    title: str
    meaning: str
    criteria: tuple[Criterion, ...]


ONE_SHOT = ("at_once", "idle")
"""Where a process that asks once is looked at."""

PRELOADED = ("idle", "at_once")
"""Where a process that waits until the model is ready is looked at."""

ANY = (*PRELOADED, "think_time")
"""Where memory and init time are looked at, if it does not matter when the request comes."""

USES = (
    Use(
        "command_line_tool",
        "A command line tool",
        "one process, one question, and somebody waits for the answer",
        (
            Criterion("results_ms", ("search_command",)),
            Criterion("total_ms", ONE_SHOT),
            Criterion("init_ms", ONE_SHOT),
            Criterion("first_embedding_ms", ("think_time",)),
            Criterion(COSINE),
            Criterion("peak_mib", ONE_SHOT),
        ),
    ),
    Use(
        "service",
        "A service",
        "starts once, loads the model, then answers for hours",
        (
            Criterion(COSINE),
            Criterion("first_embedding_ms", ("idle",)),
            Criterion("second_embedding_ms", ("idle",)),
            Criterion("total_ms", PRELOADED),
            Criterion("peak_mib", PRELOADED),
        ),
    ),
    Use(
        "test_suite",
        "A test suite",
        "the model loads beside other work, such as collecting tests",
        (
            Criterion(COSINE),
            Criterion("first_embedding_ms", ("think_time",)),
            Criterion("total_stall_ms", ("think_time",)),
            Criterion("longest_stall_ms", ("think_time",)),
            Criterion("cpu_s", ("think_time",)),
        ),
    ),
    Use(
        "small_machine",
        "A small machine",
        "memory is short",
        (Criterion("peak_mib", ANY), Criterion("total_ms", PRELOADED)),
    ),
)
