"""The verdict of a gate, and everything that its outputs show. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import EXIT_INCOMPARABLE, EXIT_OK, EXIT_REGRESSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.gate.sequence import Course, Decision, Settings
    from bench.gate.source import Revision

Result = Literal["ok", "regression", "inconclusive"]

EXIT_CODES: dict[Result, int] = {"ok": EXIT_OK, "regression": EXIT_REGRESSION, "inconclusive": EXIT_INCOMPARABLE}


def result_of(course: Course) -> Result:
    """Return the worst of all decisions, except that nothing can be said where a control fired."""
    if any(finding.control_fires for decision in course.decisions for finding in decision.findings):
        return "inconclusive"
    outcomes = {decision.outcome for decision in course.decisions}
    if "regression" in outcomes:
        return "regression"
    return "inconclusive" if "inconclusive" in outcomes else "ok"


@dataclass(frozen=True)
class Change:
    """A dependency that is not the same on both sides; None where a side has none."""

    name: str
    base: str | None
    head: str | None


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Attributes:
        base: the revision that is compared with.
        head: the revision that is judged.
        course: stages and decisions.
        settings: by which was decided.
        changes: dependencies that differ between the two.
        machine: see ``bench.environment.describe_environment``, of the base arm.
        samples: how many were taken, warm-up rounds not counted.
        disturbed: during how many of them other work took more of the processors than the protocol's limits.
        measured_s: seconds from the first round to the last.
        prepared_s: seconds before that: building, installing, preparing models.
        command: that repeats this gate.
    """

    base: Revision
    head: Revision
    course: Course
    settings: Settings
    changes: tuple[Change, ...]
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
        """What the process ends with."""
        return EXIT_CODES[self.result]

    def decided(self, *outcomes: str) -> list[Decision]:
        """Return the decisions with these outcomes."""
        return [decision for decision in self.course.decisions if decision.outcome in outcomes]
