"""What a study found, as tables for the documentation and as a picture; made from its JSON files alone."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from bench.data.json_text import parse
from bench.errors import RecordError
from bench.report.document import Table
from bench.report.saving import save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Okabe and Ito's colours, safe for colour-blind readers, with shapes and lines for black and white.
_STYLES = (("o", "-", "#0072B2"), ("s", "--", "#D55E00"), ("D", ":", "#009E73"), ("^", "-.", "#CC79A7"))


def read_study(file: Path) -> dict[str, Any]:
    """Return what ``python -m bench.study simulate`` or ``real`` wrote.

    Raises:
        RecordError: it is missing or damaged.
    """
    try:
        data = parse(file.read_text(encoding="utf-8"))
        if data["schema"] != 1 or not {"tallies", "gates"} & set(data):
            raise RecordError(f"{file} is not a study that this version can read")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{file} is not a study: {error!r}") from error
    return dict(data)


def simulation_table(simulation: dict[str, Any]) -> Table:
    """Return how simulated gates ended, one row for each effect."""
    rows = []
    for tally in simulation["tallies"]:
        share, low, high = tally["rate"]
        rows.append(
            (
                _effect(tally["effect"]),
                f"{tally['gates']:,}",
                f"{tally['regressions']:,}",
                _percent(share),
                f"{_percent(low)} to {_percent(high)}",
                f"{tally['inconclusive']:,}",
                f"{tally['median_s']:.0f}",
                f"{tally['slowest_s']:.0f}",
                f"{tally['median_rounds']:.0f}",
            )
        )
    headings = (
        "Head slower by",
        "Gates",
        "Regressions",
        "Share",
        "95 % interval",
        "Inconclusive",
        "Median (s)",
        "95 % within (s)",
        "Rounds",
    )
    return Table("Simulated gates", headings, tuple(rows), names=1)


def real_table(real: dict[str, Any]) -> Table:
    """Return how real gates ended, one row for each."""
    rows = []
    for number, gate in enumerate(real["gates"], 1):
        shift = _shift_of_total(gate["decisions"])
        rows.append(
            (
                str(number),
                _effect(gate["effect"]),
                gate["result"],
                f"{_change(shift['estimate'])} ({_change(shift['low'])} to {_change(shift['high'])})",
                " + ".join(str(stage["rounds"]) for stage in gate["stages"]),
                f"{gate['measured_s']:.0f}",
                f"{gate['disturbed_samples']} of {gate['samples']}",
            )
        )
    headings = ("Gate", "Head slower by", "Verdict", "Total, change (%)", "Rounds", "Measured (s)", "Disturbed")
    return Table("Real gates", headings, tuple(rows), names=3)


def draw_power(simulations: Sequence[tuple[str, dict[str, Any]]], folder: Path) -> None:
    """Draw the share of gates that find a regression against its size, as ``power.svg`` and ``power.png``.

    Args:
        simulations: each with its name.
        folder: for the pictures.
    """
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, simulation), (marker, line, colour) in zip(simulations, cycle(_STYLES)):
        tallies = sorted(simulation["tallies"], key=lambda tally: tally["effect"])
        sizes = [100 * tally["effect"] for tally in tallies]
        shares = [100 * tally["rate"][0] for tally in tallies]
        errors = [
            [100 * (tally["rate"][0] - tally["rate"][1]) for tally in tallies],
            [100 * (tally["rate"][2] - tally["rate"][0]) for tally in tallies],
        ]
        style = {"marker": marker, "linestyle": line, "color": colour, "markerfacecolor": "white"}
        axes.errorbar(sizes, shares, yerr=errors, capsize=2, linewidth=1.4, markersize=6, label=name, **style)
    tolerance = 100 * (min(rule["limit"] for rule in simulations[0][1]["rules"] if rule["limit"] > 1) - 1)
    axes.axvline(tolerance, color="0.4", linestyle="--", linewidth=1, label=f"tolerance, {tolerance:.0f} %")
    axes.set_xlabel("Total of the head is larger by (%)")
    axes.set_ylabel("Gates that find a regression (%)")
    axes.set_ylim(-3, 103)
    axes.grid(visible=True, color="0.9")
    axes.legend(frameon=False, loc="lower right")
    save(figure, folder, "power")


def _shift_of_total(decisions: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the shift of Total in the last stage."""
    for decision in decisions:
        rule = decision["rule"]
        if rule["metric"] == "total_ms" and (rule["against"] or {}).get("arm") == "base":
            return dict(decision["findings"][-1]["shift"])
    raise RecordError("a gate of the study does not judge total_ms")


def _effect(effect: float) -> str:
    return "nothing" if not effect else f"{100 * effect:g} %"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}"
