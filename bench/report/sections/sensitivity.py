"""What a comparison with another run like this one would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.metrics import FLOORS
from bench.report.document import Prose, Section, Table
from bench.report.sensitivity import EFFECT, RELIABLE, sensitivities
from bench.stats.comparison import Criteria

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.sensitivity import Sensitivity
    from bench.stats.context import Context

TITLE = "Would a slower start have been seen?"

_CHANGE = f"+{EFFECT * 100:.0f} %"
"""What is asked about, in words."""

_LIMIT = f"{Criteria().tolerance * 100:.0f} %, or {FLOORS['ms']:g} ms or {FLOORS['MiB']:g} MiB where that is more"

_MEANING = "\n".join(
    [
        f"Suppose one strategy became {EFFECT * 100:.0f} % slower and you compared a second run with this one "
        "(`python -m bench.compare`). Times are compared as ratios to the reference in the same round, if there is "
        "one. Total, Init Time and Peak are judged together. Comparing many strategies at once detects less.",
        "",
        "- *Noise*: half of the rounds deviate from the median by at most this.",
        f"- *{_CHANGE} seen*: the share of comparisons whose confidence interval lies above 1.",
        f"- *{_CHANGE} over limit*: the share whose interval lies above the limit ({_LIMIT}), which counts as a "
        "regression.",
        f"- *Smallest seen*: the smallest change that {RELIABLE * 100:.0f} % of comparisons detect.",
        "- *False alarms*: the share that detects a change when nothing changed.",
        "",
        "More rounds detect smaller changes (`protocol.rounds=40`). Both runs are bootstrapped from this one's rounds "
        "(Efron and Tibshirani, 1993), so only the noise within this run counts; a machine varies more from day to "
        "day. For small changes use the gate (`python -m bench.gate`), which interleaves both revisions; "
        "`docs/explanation/gate-power.md` says how small.",
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
    rows = tuple((context.name(each, among), *_figures(each), meaning(each)) for each in found)
    details = ("False alarms", f"{_CHANGE} over limit", "Figure")
    return Section(
        TITLE, (Table(TITLE, (*headings, "False alarms", "In words"), rows, details=details), Prose(_MEANING))
    )


def meaning(found: Sensitivity) -> str:
    """Return what the figures mean."""
    smallest = found.smallest_seen
    if not found.can_be_told:
        return f"too few rounds: {found.n} of {found.rounds_needed}"
    if smallest is None:
        return f"even twice the {'memory' if found.metric.unit == 'MiB' else 'time'} could be missed"
    if smallest > EFFECT:
        return f"{_CHANGE} could be missed; {_percent(smallest)} would be seen"
    return f"{_CHANGE} would be seen" + (f", even {_percent(smallest)}" if smallest < EFFECT else "")


def _too_few(found: Sequence[Sensitivity]) -> str:
    most, needed = max(each.n for each in found), min(each.rounds_needed for each in found)
    return (
        f"Unknown: this run has at most {_rounds(most)}, and a comparison of two such runs "
        f"(`python -m bench.compare`) needs at least {needed} (`protocol.rounds={needed}`, with a long enough "
        "`protocol.budget_s`). The gate (`python -m bench.gate`) takes as many rounds as it needs."
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
