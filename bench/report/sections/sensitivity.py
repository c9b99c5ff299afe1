"""What a comparison with another run like this one would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.comparison import FLOORS, Criteria
from bench.report.document import Prose, Section, Table
from bench.report.sensitivity import EFFECT, RELIABLE, sensitivities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.context import Context
    from bench.report.sensitivity import Sensitivity

TITLE = "Would a slower start have been seen?"

_CHANGE = f"+{EFFECT * 100:.0f} %"
"""What is asked about, in words."""

_LIMIT = f"{Criteria().tolerance * 100:.0f} %, or {FLOORS['ms']:g} ms or {FLOORS['MiB']:g} MiB where that is more"

_MEANING = "\n".join(
    [
        f"Imagine this run again, with one strategy {EFFECT * 100:.0f} % slower, and both compared by "
        "`python -m bench.compare`: as ratios to the reference of the same round where there is one, with the "
        "strategy's Total, Init Time and Peak judged together. Where many strategies are compared at once, each has to "
        "be surer, and less is seen.",
        "",
        "- *Noise*: half of the rounds are within this of the median.",
        f"- *{_CHANGE} seen*: in how many such comparisons the whole interval of the change is above 1.",
        f"- *{_CHANGE} over limit*: in how many it is above the limit as well, which is {_LIMIT}: then the command "
        "calls a regression.",
        f"- *Smallest seen*: the smallest change that {RELIABLE * 100:.0f} % of them see.",
        "- *False alarms*: how many see a change where there is none.",
        "",
        "More rounds see smaller changes (`protocol.rounds=40`). Both runs are drawn from the rounds of this one (a "
        "bootstrap; Efron and Tibshirani, 1993), so this knows the noise within the run, and not how the machine "
        "differs from one day to another: a real second run may see less. For small changes use the gate "
        "(`python -m bench.gate`), which measures both revisions in turns; `docs/explanation/gate-power.md` says how "
        "small.",
    ]
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without samples of ours."""
    found = sensitivities(context)
    if not found:
        return None
    if not any(each.can_be_told for each in found):
        return Section(TITLE, (Prose(_too_few(found)),))
    among = [summary for summary in context.measured if not (summary.cell.is_baseline or summary.cell.is_peer)]
    headings = ("Strategy", "Figure", "n", "Noise", f"{_CHANGE} seen", f"{_CHANGE} over limit", "Smallest seen")
    rows = tuple((context.name(each, among), *_figures(each), verdict(each)) for each in found)
    details = ("False alarms", f"{_CHANGE} over limit", "Figure")
    return Section(
        TITLE, (Table(TITLE, (*headings, "False alarms", "In words"), rows, details=details), Prose(_MEANING))
    )


def verdict(found: Sensitivity) -> str:
    """Return what the figures mean."""
    smallest = found.smallest_seen
    if not found.can_be_told:
        return f"cannot be told: {_rounds(found.n)}, {found.rounds_needed} are needed"
    if smallest is None:
        return f"not even twice the {'memory' if found.metric.unit == 'MiB' else 'time'} would be seen reliably"
    if smallest > EFFECT:
        return f"{_CHANGE} can be missed; {_percent(smallest)} would be seen"
    return f"{_CHANGE} would be seen" + (f", even {_percent(smallest)}" if smallest < EFFECT else "")


def _too_few(found: Sequence[Sensitivity]) -> str:
    most, needed = max(each.n for each in found), min(each.rounds_needed for each in found)
    return (
        f"It cannot be told: this run has {_rounds(most)} at most, and a comparison of two such runs "
        f"(`python -m bench.compare`) takes {needed} at least (`protocol.rounds={needed}`, and a `protocol.budget_s` "
        "that is long enough). The gate (`python -m bench.gate`) takes as many rounds as it needs."
    )


def _figures(found: Sensitivity) -> tuple[str, ...]:
    name = found.metric.title if found.reference is None else f"{found.metric.title} / {found.reference.strategy}"
    told = name, str(found.n), f"{found.noise * 100:.1f} %"
    if not found.can_be_told:
        return (*told, "-", "-", "-", "-")
    smallest = "-" if found.smallest_seen is None else _percent(found.smallest_seen)
    shares = f"{found.seen(EFFECT) * 100:.0f} %", f"{found.called(EFFECT) * 100:.0f} %"
    return (*told, *shares, smallest, f"{found.seen(0.0) * 100:.1f} %")


def _rounds(count: int) -> str:
    return f"{count} round{'' if count == 1 else 's'}"


def _percent(change: float) -> str:
    return f"+{change * 100:.0f} %"
