"""The sections of a report, in order. Each is a function from the context to a ``Section``; None leaves it out.

The first ones answer what to use and what it costs, the next ones why, the last ones whether that can be believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.sections import (
    allocations,
    concurrent,
    environment,
    experience,
    glossary,
    imports,
    measured,
    memory,
    memory_marks,
    model_size,
    noise,
    phases,
    preparation,
    problems,
    quality,
    recommendation,
    repeat,
    sensitivity,
    startup,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.report.document import Section
    from bench.stats.context import Context

SECTIONS: tuple[Callable[[Context], Section | None], ...] = (
    recommendation.render,
    measured.render,
    startup.render,
    experience.render,
    memory.render,
    concurrent.render,
    phases.render,
    imports.render,
    model_size.render,
    memory_marks.render,
    allocations.render,
    quality.render,
    problems.render,
    steps.render,
    sensitivity.render,
    noise.render,
    preparation.render,
    environment.render,
    repeat.render,
    glossary.render,
)
