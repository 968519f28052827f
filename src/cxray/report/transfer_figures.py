"""Figures of what carries over: from validation to the judged films, to films that look different, and from all films
to those it is sure of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxray.report.figures import _figure, _style
from cxray.report.numbers import title
from cxray.report.palette import INK, MODEL, MUTED, NEGATIVE, PAPER, POSITIVE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Columns = Mapping[str, npt.NDArray[Any]]
# Measures on one scale, 0 to 1; the calibration slope and intercept have scales of their own and stand in the table.
_ON_ONE_SCALE = ("sensitivity", "specificity", "auroc", "brier")


def transport_panel(columns: Columns) -> Figure:
    """Each measure on validation films (hollow square) and on the judged films (disc), with both intervals.

    `columns` is the table `transport`: `measure`, and `<side>_value`, `_low`, `_high` for validation and judged.
    """
    rows = [row for row, name in enumerate(columns["measure"]) if name in _ON_ONE_SCALE]
    figure = _figure((6.4, 0.9 + 0.55 * len(rows)), {"left": 0.17, "right": 0.985, "bottom": 0.19, "top": 0.89})
    axes = figure.subplots()
    _style(axes, grid_axis="x")
    sides = (
        ("validation", -0.14, MUTED, "s", PAPER, "validation films"),
        ("judged", 0.14, MODEL, "o", MODEL, "these films"),
    )
    for side, offset, colour, marker, face, label in sides:
        places = np.arange(len(rows)) + offset
        value, low, high = (columns[f"{side}_{part}"][rows] for part in ("value", "low", "high"))
        axes.hlines(places, low, high, color=colour, linewidth=2.2)
        axes.plot(
            value, places, linestyle="none", marker=marker, markersize=6.5, color=colour, markerfacecolor=face,
            markeredgewidth=1.6, label=label,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [title(str(columns["measure"][row])) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Value, 0 to 1 (Brier score: smaller is better)", color=INK)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def robustness(columns: Columns) -> Figure:
    """AUROC, sensitivity and specificity of changed validation films, one line a change, the unchanged ones on top.

    `columns` is the table `stress`: `treatment`, `auroc`, `sensitivity`, `specificity`; the first row is unchanged.
    """
    rows = len(columns["treatment"])
    figure = _figure((6.4, 1.0 + 0.36 * rows), {"left": 0.24, "right": 0.985, "bottom": 0.17, "top": 0.9})
    axes = figure.subplots()
    _style(axes, grid_axis="x")
    for name, colour, marker, offset in (
        ("sensitivity", POSITIVE, "o", -0.16), ("specificity", NEGATIVE, "s", 0.0), ("auroc", MUTED, "D", 0.16),
    ):  # fmt: skip
        values = np.asarray(columns[name], dtype=np.float64)
        axes.axvline(values[0], color=colour, linewidth=0.8, linestyle=":")
        axes.plot(
            values, np.arange(rows) + offset, linestyle="none", marker=marker, markersize=6.5, color=colour,
            markeredgecolor=PAPER, label=title(name),
        )  # fmt: skip
    axes.set_yticks(range(rows), [str(name) for name in columns["treatment"]])
    axes.set_ylim(rows - 0.4, -0.6)
    lowest = min(float(np.nanmin(columns[name])) for name in ("auroc", "sensitivity", "specificity"))
    axes.set_xlim(max(-0.02, min(0.8, lowest) - 0.05), 1.02)
    axes.set_xlabel("Value at the frozen threshold, validation films", color=INK)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def risk_coverage(columns: Columns) -> Figure:
    """The share of wrong decisions (risk) among the films that the model is surest of, by their share (coverage)."""
    figure = _figure((6.4, 3.2), {"left": 0.11, "right": 0.985, "bottom": 0.16, "top": 0.97})
    axes = figure.subplots()
    _style(axes)
    coverage, risk = columns["coverage"], columns["risk"]
    axes.step(coverage, risk, where="post", color=MODEL, linewidth=2)
    axes.plot([coverage[-1]], [risk[-1]], marker="D", markersize=6, color=POSITIVE, markeredgecolor=PAPER)
    axes.annotate(
        "all films", (coverage[-1], risk[-1]), xytext=(-8, 6), textcoords="offset points", fontsize=9, color=POSITIVE,
        ha="right",
    )  # fmt: skip
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, max(0.02, 1.15 * float(np.nanmax(risk))))
    axes.set_xlabel("Share of films answered, the surest first", color=INK)
    axes.set_ylabel("Wrong among them", color=INK)
    return figure
