"""The sections of a report, in order. Each is a function from the context to Markdown; "" leaves it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.sections import (
    allocations,
    concurrent,
    environment,
    experience,
    glossary,
    headline,
    imports,
    memory,
    memory_marks,
    noise,
    phases,
    pictures,
    preparation,
    problems,
    published,
    repeat,
    startup,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.report.context import Context

SECTIONS: tuple[Callable[[Context], str], ...] = (
    headline.render,
    startup.render,
    pictures.render,
    phases.render,
    experience.render,
    memory.render,
    memory_marks.render,
    concurrent.render,
    published.render,
    imports.render,
    allocations.render,
    preparation.render,
    problems.render,
    noise.render,
    environment.render,
    repeat.render,
    glossary.render,
)
