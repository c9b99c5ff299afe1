"""The pictures of a load test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from bench.load.page import NAMES
from bench.load.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.load.summary import Measured, PhaseSummary

# Okabe and Ito's colours, safe for colour-blind readers; the styles of lines tell them apart in black and white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")

MAX_STEPS = 2000
"""Points of one curve: more than a picture is wide in pixels."""


def draw_throughput(loads: Sequence[PhaseSummary]) -> Figure:
    """Return a bar for the service and each way to use one process; a line spans the lowest to the highest round."""
    shown = [(NAMES[load.name], load.answers_per_s) for load in loads if load.name != "open" and load.answers_per_s]
    figure = Figure(figsize=(7.5, 1.2 + 0.5 * max(len(shown), 1)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, rate) in enumerate(shown):
        axes.barh(place, rate.median, height=0.6, color=_COLOURS[0 if place == 0 else 5])
        axes.plot([rate.lowest, rate.highest], [place, place], color="#000000", linewidth=1.5)
        axes.annotate(
            f"{rate.median:,.0f}", (rate.highest, place), (4, 0), textcoords="offset points", verticalalignment="center"
        )
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    axes.set_xlabel("right answers per second")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_latency(measured: Measured) -> Figure:
    """Return cumulative latencies: the service in a closed loop and at each rate, and one process text by text."""
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    axes = figure.add_subplot()
    shown = [pair for pair in measured if pair[0].name in {"closed", "open", "serial"}]
    loads = [load for load in summarise(shown) if load.answers_per_s]
    for number, load in enumerate(loads):
        found = [
            requests
            for phase, requests in shown
            if phase.name == load.name and load.offered in {None, phase.fraction, phase.offered_per_s}
        ]
        latencies_ms = np.sort(np.concatenate([requests.latencies_ns for requests in found])) / 1e6
        ranks = np.unique(np.linspace(0, len(latencies_ms) - 1, MAX_STEPS).astype(int))
        axes.step(
            latencies_ms[ranks],
            (ranks + 1) / len(latencies_ms),
            where="post",
            label=_label(load),
            color=_COLOURS[number % len(_COLOURS)],
            linestyle=_STYLES[number % len(_STYLES)],
        )
    axes.set_xscale("log")
    axes.set_xlabel("latency, ms (logarithmic)")
    axes.set_ylabel("share of right answers")
    axes.set_ylim(0, 1.01)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if loads:
        figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    return figure


def _label(load: PhaseSummary) -> str:
    if load.name != "open":
        return f"{NAMES[load.name]}, {load.clients} clients" if load.name == "closed" else NAMES[load.name]
    return f"service, {load.offered_per_s or 0:,.0f} requests/s"
