"""Forest plot: a line for each rule, with the A/A control below it."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.gate.outputs.wording import ratio_scale, rule_title, shown_finding
from bench.report.plots.parts.texts import drawable_text
from bench.report.plots.phases import MAGNIFIED_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from bench.gate.decide.rules import Finding, RuleState
    from bench.gate.decide.verdict import Verdict
    from bench.stats.shifts import Shift

# Okabe and Ito's colours, safe for colour-blind readers, with shapes for black and white.
_STATES: dict[RuleState, tuple[str, str, str]] = {
    "over": ("Over its limit", "s", "#D55E00"),
    "within": ("Within its limit", "o", "#0072B2"),
    "unclear": ("Unclear", "D", "#F0E442"),
}
_CONTROL_COLOUR = "#777777"
_CONTROL_BELOW = 0.3
"""How far below its rule the control is drawn, as a share of a row."""


def draw(verdict: Verdict) -> Figure:
    """Return the figure: a panel for rules that compare with the base, one for rules with a fixed limit."""
    findings = [shown_finding(decision) for decision in verdict.course.decisions]
    panels = [
        (rows, label, in_percent)
        for rows, label, in_percent in (
            (
                [finding for finding in findings if finding.rule.is_regression],
                "Change from base to head, in %",
                _change,
            ),
            (
                [finding for finding in findings if not finding.rule.is_regression],
                "Figure, in % of its limit",
                _share,
            ),
        )
        if rows
    ]
    heights = [len(rows) + 0.6 for rows, _, _ in panels]
    figure = Figure(figsize=(11, 1.2 + 0.75 * sum(heights)), layout="constrained")
    for axes, (rows, label, in_percent) in zip(
        figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0], panels, strict=True
    ):
        _draw_panel(axes, rows, in_percent)
        axes.set_xlabel(label)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=6, frameon=False, fontsize="small")
    return figure


def _draw_panel(axes: Axes, rows: Sequence[Finding], in_percent: Callable[[Finding, float], float]) -> None:
    limits = [in_percent(finding, finding.limit) for finding in rows]
    unchanged = in_percent(rows[0], 1.0) if rows[0].rule.is_regression else 100.0
    low, high = _range([_ends(finding, in_percent) for finding in rows], limits, unchanged)
    axes.set_xlim(low, high)
    if rows[0].rule.is_regression:
        axes.axvline(unchanged, color="black", linewidth=0.8)
    for position, (finding, limit) in enumerate(zip(rows, limits, strict=True)):
        _, marker, colour = _STATES[finding.state]
        axes.plot(
            [limit, limit], [position - 0.3, position + 0.42], color="black", linewidth=1.6, linestyle=(0, (2, 1))
        )
        _draw_shift(axes, [in_percent(finding, end) for end in _of(finding.shift)], position, marker, colour, 1.8)
        if finding.control is not None:
            ends = [in_percent(finding, end) for end in _of(finding.control)]
            _draw_shift(axes, ends, position + _CONTROL_BELOW, "o", "none", 0.9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [_label(finding) for finding in rows], parse_math=False)
    texts = axes.secondary_yaxis("right")
    texts.set_yticks(range(len(rows)), [_figures(finding) for finding in rows], parse_math=False)
    texts.tick_params(length=0, pad=9)
    texts.spines["right"].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=9)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_shift(axes: Axes, ends: Sequence[float], position: float, marker: str, colour: str, width: float) -> None:
    """Draw an interval and its point; an interval that exceeds the axis ends in an arrow at the edge."""
    low, high = axes.get_xlim()
    line = _CONTROL_COLOUR if colour == "none" else "black"
    inset = 0.02 * (high - low)
    start, stop = (min(max(end, low), high) for end in (ends[0], ends[2]))
    middle = min(max(ends[1], low + inset), high - inset)
    axes.plot(
        [min(start, middle), max(stop, middle)],
        [position, position],
        color=line,
        linewidth=width,
        solid_capstyle="butt",
        zorder=2,
    )
    for is_beyond, edge, arrow in ((ends[0] < low, low, "<"), (ends[2] > high, high, ">")):
        if is_beyond:
            axes.plot([edge], [position], marker=arrow, color=line, markersize=6, clip_on=False, zorder=3)
    size, face = (5, "white") if colour == "none" else (8, colour)
    axes.plot([middle], [position], marker=marker, color=face, markeredgecolor=line, markersize=size, zorder=4)


def _range(spans: Sequence[tuple[float, float]], limits: Sequence[float], centre: float) -> tuple[float, float]:
    """Return the ends of the axis: one extreme rule, or an open interval, must not flatten all others."""
    reaches = [max(abs(low - centre), abs(high - centre)) for low, high in spans]
    allowed = max([1.0, *(abs(limit - centre) for limit in limits)])
    reach = max(statistics.median_low(reaches), allowed) * MAGNIFIED_FROM
    values = [min(max(value, centre - reach), centre + reach) for span in spans for value in span]
    low, high = min([*values, *limits, centre]), max([*values, *limits, centre])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _change(finding: Finding, ratio: float) -> float:  # noqa: ARG001 - as ``_share``
    return (ratio - 1.0) * 100.0


def _share(finding: Finding, figure: float) -> float:
    return figure / finding.limit * 100.0


def _ends(finding: Finding, in_percent: Callable[[Finding, float], float]) -> tuple[float, float]:
    """Return how far the marks of a rule reach, not counting open ends."""
    shifts = [finding.shift, *([finding.control] if finding.control else [])]
    ends = [in_percent(finding, end) for shift in shifts for end in _of(shift) if 0.0 < end < math.inf]
    return min(ends), max(ends)


def _of(shift: Shift) -> tuple[float, float, float]:
    return shift.low if shift.low > 0.0 else -math.inf, shift.ratio, shift.high


def _label(finding: Finding) -> str:
    return f"{drawable_text(finding.rule.cell.label())}\n{drawable_text(rule_title(finding.rule))}"


def _figures(finding: Finding) -> str:
    scale = ratio_scale(finding.rule)
    return f"{scale.show(finding.shift.ratio)}\n({scale.interval(finding.shift)})"


def _legend() -> list[Line2D]:
    states = [
        Line2D([], [], color="black", linewidth=1.8, marker=marker, markerfacecolor=colour, markersize=8, label=label)
        for label, marker, colour in _STATES.values()
    ]
    control = Line2D(
        [],
        [],
        color=_CONTROL_COLOUR,
        linewidth=0.9,
        marker="o",
        markerfacecolor="white",
        markersize=5,
        label="Control: the base against itself",
    )
    limit = Line2D([], [], color="black", linewidth=1.6, linestyle=(0, (2, 1)), label="Limit")
    return [*states, control, limit]
