"""Figures of a comparison: forest plots of differences, the curves of all models in one picture, seeds as dots.

Models differ by colour and by dash, and each line is named at its side, so no picture relies on colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxray.report.figures import _figure, _interval_rows, _legend, _literal, _square, _style
from cxray.report.palette import INK, MODEL, MUTED, NEGATIVE, PAPER, POSITIVE, RULE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Columns = Mapping[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]
Dash = str | tuple[int, tuple[int, ...]]
# More models than looks are told apart by nobody; the tables name all.
LOOKS: tuple[tuple[str, Dash], ...] = (
    (MODEL, "-"),
    (POSITIVE, "--"),
    (INK, (0, (1, 1))),
    (MUTED, (0, (5, 1, 1, 1))),
    (POSITIVE, (0, (1, 2))),
    (NEGATIVE, (0, (9, 3))),
)


def forest(
    names: Sequence[str],
    values: Floats,
    limits: Floats,
    *,
    margin: float | None = None,
) -> Figure:
    """One row a difference: a dot with its interval, and the line of no difference.

    `values` (rows,) and `limits` (rows, 2) are differences; NaN where withheld. `margin` draws the largest loss that
    was accepted beforehand.
    """
    figure = _figure((6.4, 1.1 + 0.36 * len(names)))
    axes = figure.subplots()
    _style(axes, grid_axis="x")
    axes.axvline(0, color=INK, linewidth=1.1)
    if margin is not None:
        axes.axvline(margin, color=POSITIVE, linewidth=1.1, linestyle=(0, (5, 2)))
        axes.text(margin, -0.5, " margin", color=POSITIVE, fontsize=8.5, va="top")
    _interval_rows(axes, names, values, limits)
    reach = float(np.nanmax(np.abs([*limits.ravel(), *values, margin or 0.0]), initial=0.01))
    axes.set_xlim(-1.08 * reach, 1.08 * reach)
    axes.set_xlabel("Difference, first minus second; the line is no difference", color=INK)
    return figure


def paired_roc(curves: Mapping[str, Columns]) -> Figure:
    """The ROC curves of the models, each with `sensitivity` and `specificity` (0–1)."""
    figure, axes = _square("False alarms among films without the finding", "Found among films with the finding")
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    for (name, points), (colour, dash) in zip(curves.items(), LOOKS, strict=False):
        axes.plot(
            1 - points["specificity"], points["sensitivity"], color=colour, linestyle=dash, linewidth=1.9,
            label=_literal(name),
        )  # fmt: skip
    axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK, handlelength=3.2)
    return figure


def paired_net_benefit(curves: Mapping[str, Columns]) -> Figure:
    """Net benefit of the models over threshold probabilities, each with `threshold`, `net_benefit`, `treat_all`."""
    figure = _figure((6.4, 3.8))
    axes = figure.subplots()
    _style(axes)
    first = next(iter(curves.values()))
    axes.plot(first["threshold"], first["treat_all"], color=RULE, linewidth=1.6, label="act on every film")
    axes.axhline(0, color=RULE, linewidth=1.2)
    for (name, columns), (colour, dash) in zip(curves.items(), LOOKS, strict=False):
        axes.plot(
            columns["threshold"], columns["net_benefit"], color=colour, linestyle=dash, linewidth=1.9,
            label=_literal(name),
        )  # fmt: skip
    top = max(float(np.nanmax(columns["net_benefit"])) for columns in curves.values())
    axes.set_ylim(-0.1 * max(top, 0.1), 1.12 * max(top, 0.1))
    axes.set_xlim(0, 1)
    axes.set_xlabel("Threshold probability: how sure one must be to act", color=INK)
    axes.set_ylabel("Net benefit per film", color=INK)
    _legend(axes, "lower left")
    return figure


def seeds(recipes: Mapping[str, Floats], spread: Mapping[str, tuple[float, float, float] | None]) -> Figure:
    """One row a recipe: a ring for each seed's AUROC, the mean as a square with the range where a new seed may fall.

    `spread` is mean, low and high of a recipe, None where there is no range.
    """
    figure = _figure((6.4, 1.1 + 0.5 * len(recipes)))
    axes = figure.subplots()
    _style(axes, grid_axis="x")
    for row, (name, values) in enumerate(recipes.items()):
        found = spread.get(name)
        if found is not None:
            axes.hlines([row], found[1], found[2], color=MODEL, linewidth=2.2)
            axes.plot([found[0]], [row], linestyle="none", marker="s", markersize=7, color=MODEL, markeredgecolor=PAPER)
        axes.plot(
            values, np.full(len(values), row - 0.22), linestyle="none", marker="o", markersize=5.5,
            markerfacecolor="none", markeredgecolor=POSITIVE,
        )  # fmt: skip
    axes.set_yticks(range(len(recipes)), [_literal(name) for name in recipes])
    axes.set_ylim(len(recipes) - 0.5, -0.6)
    axes.set_xlabel("AUROC", color=INK)
    return figure
