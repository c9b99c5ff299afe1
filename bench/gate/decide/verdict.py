"""The verdict of a gate, and everything that its outputs show. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import EXIT_INCOMPARABLE, EXIT_OK, EXIT_REGRESSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.gate.decide.sequence import Course, Decision, DecisionSettings
    from bench.gate.install.source import Revision

Result = Literal["ok", "regression", "inconclusive"]

EXIT_CODES: dict[Result, int] = {"ok": EXIT_OK, "regression": EXIT_REGRESSION, "inconclusive": EXIT_INCOMPARABLE}


def result_of(course: Course) -> Result:
    """Return the worst of all decisions, or inconclusive if a control fired."""
    if any(finding.control_fires for decision in course.decisions for finding in decision.findings):
        return "inconclusive"
    outcomes = {decision.outcome for decision in course.decisions}
    if "regression" in outcomes:
        return "regression"
    return "inconclusive" if "inconclusive" in outcomes else "ok"


@dataclass(frozen=True)
class DependencyChange:
    """A dependency that is not the same on both sides; None on a side that lacks it."""

    name: str
    base: str | None
    head: str | None


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Attributes:
        base: the revision to compare with.
        head: the revision that is judged.
        course: stages and decisions.
        settings: the settings that decided.
        changes: dependencies that differ between the two.
        machine: the base arm's, see ``bench.measure.machine.describe_environment``.
        samples: how many were taken, warm-up rounds not counted.
        disturbed: how many of them ran while other work took more of the processors than the limits allow.
        measured_s: seconds from the first round to the last.
        prepared_s: seconds before that: building, installing, preparing models.
        command: the command that repeats this gate.
    """

    base: Revision
    head: Revision
    course: Course
    settings: DecisionSettings
    changes: tuple[DependencyChange, ...]
    machine: Mapping[str, Any]
    samples: int
    disturbed: int
    measured_s: float
    prepared_s: float
    command: str

    @property
    def result(self) -> Result:
        """See ``result_of``."""
        return result_of(self.course)

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return EXIT_CODES[self.result]

    def decided(self, *outcomes: str) -> list[Decision]:
        """Return the decisions with these outcomes."""
        return [decision for decision in self.course.decisions if decision.outcome in outcomes]
