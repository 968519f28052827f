"""Figures from columns: every function takes finished numbers and returns a matplotlib `Figure`. Nothing is computed.

Columns are the tables of an `Evaluation` (or of a training history): a mapping of column name to an equally long array.
`pyplot` and its global state are never touched, so figures can be drawn from any thread; matplotlib itself is imported
only when something is drawn. Names from films, classes and files are shown literally, never read as mathematics.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from cxray.errors import UsageError
from cxray.report.palette import INK, MODEL, MUTED, NEGATIVE, PAPER, POSITIVE, RULE, SHADE
from cxray.report.text import clip, printable
from cxray.rundir import write_bytes, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

Columns = Mapping[str, npt.NDArray[Any]]
# Edges of the axes as fractions of the figure, and the gaps between panels as fractions of a panel.
Margins = Mapping[str, float]

FIGURE_SUFFIXES = (".svg", ".png")
_SQUARE_INCHES = (4.6, 4.4)
_SQUARE_MARGINS = {"left": 0.13, "right": 0.98, "bottom": 0.115, "top": 0.985}
_WIDE_INCHES = (6.4, 3.6)
_WIDE_MARGINS = {"left": 0.1, "right": 0.985, "bottom": 0.13, "top": 0.97}
_PNG_DOTS_PER_INCH = 160
# The stage in which only the head learns, as `history.csv` names it.
_FROZEN = "frozen"
# Beyond this many classes the cells of a confusion matrix are too small to carry their counts.
_MOST_COUNTED_CLASSES = 16
_NAME_LENGTH = 28


def roc_curve(
    points: Columns, band: Columns | None = None, *, operating_point: tuple[float, float] | None = None
) -> Figure:
    """ROC curve.

    `points` holds `sensitivity` and `specificity` (0–1); `band` adds `specificity`, `low`, `high`; `operating_point` is
    the sensitivity and specificity at the threshold in use.
    """
    figure, axes = _square("False alarms among films without the finding", "Found among films with the finding")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    axes.text(0.62, 0.55, "chance", color=MUTED, fontsize=9)
    if band is not None:
        axes.fill_between(1 - band["specificity"], band["low"], band["high"], color=MODEL, alpha=0.16, linewidth=0)
    axes.plot(1 - points["specificity"], points["sensitivity"], color=MODEL, linewidth=2)
    if operating_point is not None:
        _mark(axes, 1 - operating_point[1], operating_point[0], "threshold in use")
    return figure


def precision_recall(
    points: Columns, *, prevalence: float | None = None, operating_point: tuple[float, float] | None = None
) -> Figure:
    """Precision (PPV) against recall (sensitivity), with the prevalence as the line of no skill.

    `points` holds `recall` and `precision` (0–1); `operating_point` is recall and precision at the threshold in use.
    """
    figure, axes = _square("Recall (sensitivity)", "Precision (PPV)")
    axes.step(points["recall"], points["precision"], where="pre", color=MODEL, linewidth=2)
    if prevalence is not None:
        axes.axhline(prevalence, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        axes.text(0.02, prevalence + 0.015, "prevalence: no skill", color=MUTED, fontsize=9)
    if operating_point is not None:
        _mark(axes, operating_point[0], operating_point[1], "threshold in use")
    return figure


def score_histogram(columns: Columns, *, positive: str, negative: str, threshold: float | None = None) -> Figure:
    """How many films of each class got which score: one panel a class, with the threshold as a line through both.

    `columns` holds the bins' `low` and `high` edges (0–1) and counts `positive` and `negative`.
    """
    figure = _figure(_WIDE_INCHES, {**_WIDE_MARGINS, "top": 0.93, "hspace": 0.3})
    panels = figure.subplots(2, 1, sharex=True)
    rows = (("positive", positive, POSITIVE, "//"), ("negative", negative, NEGATIVE, ""))
    for panel, (column, name, colour, hatch) in zip(panels, rows, strict=True):
        _style(panel, grid_axis="y")
        _bars(panel, columns, column, colour, hatch)
        panel.set_ylabel("films", color=MUTED)
        panel.set_title(_literal(name), loc="left", fontsize=10, color=colour, fontweight="bold")
        panel.patch.set_gid("plot-area")
        if threshold is not None:
            panel.axvline(threshold, color=INK, linewidth=1.4, linestyle=(0, (5, 2)), gid="threshold-line")
    panels[1].set_xlabel(f"Score for {_literal(positive)}", color=INK)
    panels[1].set_xlim(0, 1)
    return figure


def confusion_matrix(counts: npt.NDArray[Any], *, truth: Sequence[str], answers: Sequence[str]) -> Figure:
    """Counts of films, shape (len(truth), len(answers)); a darker cell holds more of its row."""
    counts = np.asarray(counts, dtype=np.float64)
    side = float(np.clip(0.62 * max(counts.shape) + 2.2, 4.2, 11))
    figure = _figure((side, side * 0.86))
    axes = figure.subplots()
    whole = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, whole, out=np.zeros_like(counts), where=whole > 0)
    _cells(axes, shares)
    if max(counts.shape) <= _MOST_COUNTED_CLASSES:
        for (row, column), films in np.ndenumerate(counts):
            colour = PAPER if shares[row, column] > 0.55 else INK
            axes.text(column, row, f"{films:,.0f}", ha="center", va="center", color=colour, fontsize=11)
    small = 10 if len(truth) <= 8 else 7
    axes.set_xticks(range(len(answers)), [_literal(name) for name in answers], rotation=0 if len(answers) < 3 else 60)
    axes.set_yticks(range(len(truth)), [_literal(name) for name in truth])
    axes.tick_params(length=0, labelsize=small, colors=INK)
    axes.set_title("Rows: the truth. Columns: what the model says.", loc="left", fontsize=9, color=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def calibration_curve(curve: Columns, band: Columns | None = None, smooth: Columns | None = None) -> Figure:
    """How often the finding was there against the score that promised it.

    `curve` holds `score` and `observed` (isotonic, CORP), `band` where it would lie by chance if the scores were right
    (`score`, `low`, `high`), `smooth` a second, smooth curve. All 0–1.
    """
    figure, axes = _square("Score given by the model", "Share of films with the finding")
    if band is not None:
        axes.fill_between(
            band["score"],
            band["low"],
            band["high"],
            facecolor=SHADE,
            edgecolor=RULE,
            linewidth=0.8,
            label="chance range",
        )
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)), label="perfect")
    if smooth is not None and len(smooth["score"]):
        axes.plot(smooth["score"], smooth["observed"], color=POSITIVE, linewidth=1.6, linestyle="--", label="smooth")
    axes.plot(curve["score"], curve["observed"], color=MODEL, linewidth=2, label="observed")
    _legend(axes, "upper left")
    return figure


def decision_curve(columns: Columns, *, threshold: float | None = None) -> Figure:
    """Net benefit over threshold probabilities beside acting on every film and on none.

    `columns` holds `threshold` (0–1), `net_benefit`, `low`, `high`, `treat_all`, `treat_none`.
    """
    figure = _figure(_WIDE_INCHES, _WIDE_MARGINS)
    axes = figure.subplots()
    _style(axes)
    at = columns["threshold"]
    axes.fill_between(at, columns["low"], columns["high"], color=MODEL, alpha=0.16, linewidth=0)
    axes.plot(at, columns["treat_all"], color=MUTED, linewidth=1.4, linestyle="--", label="act on every film")
    axes.plot(at, columns["treat_none"], color=MUTED, linewidth=1.4, linestyle=(0, (1, 2)), label="act on none")
    axes.plot(at, columns["net_benefit"], color=MODEL, linewidth=2, label="act on the model")
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (5, 2)), label="threshold in use")
    top = float(np.nanmax(columns["net_benefit"]))
    axes.set_ylim(-0.1 * max(top, 0.1), 1.12 * max(top, 0.1))
    axes.set_xlim(0, 1)
    axes.set_xlabel("Threshold probability: how sure one must be to act", color=INK)
    axes.set_ylabel("Net benefit per film", color=INK)
    _legend(axes, "lower left")
    return figure


def interval_plot(
    names: Sequence[str], values: npt.NDArray[np.float64], limits: npt.NDArray[np.float64], *, quantity: str
) -> Figure:
    """One dot with its interval a name, the first at the top.

    `values` (rows,) and `limits` (rows, 2) are 0–1; NaN where a value or its interval is withheld.
    """
    figure = _figure((6.4, 0.9 + 0.3 * len(names)))
    axes = figure.subplots()
    _style(axes, grid_axis="x")
    _interval_rows(axes, names, values, limits)
    axes.set_xlabel(quantity, color=INK)
    return figure


def training_curves(history: Columns, *, best_epoch: int | None = None) -> Figure:
    """Loss and accuracy by epoch, training beside validation.

    `history` holds `epoch`, `stage`, `train_loss`, `validation_loss`, `train_accuracy`, `validation_accuracy` (0–1; NaN
    where unknown). Epochs of the frozen stage are shaded; `best_epoch` is marked.
    """
    figure = _figure((8.4, 3.5), {"left": 0.07, "right": 0.985, "bottom": 0.135, "top": 0.92, "wspace": 0.14})
    panels = figure.subplots(1, 2)
    epochs = np.asarray(history["epoch"], dtype=np.float64)
    for panel, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        _style(panel)
        _shade_frozen(panel, epochs, np.asarray(history["stage"]), label_on_top=quantity == "accuracy")
        if best_epoch is not None:
            panel.axvline(
                best_epoch, color=INK, linewidth=1.1, linestyle=(0, (5, 2)), label=f"best: epoch {best_epoch}"
            )
        mark = "o" if len(epochs) <= 30 else None
        panel.plot(
            epochs, history[f"train_{quantity}"], color=NEGATIVE, linewidth=1.6, linestyle="--", marker=mark,
            markersize=3, label="training",
        )  # fmt: skip
        panel.plot(
            epochs, history[f"validation_{quantity}"], color=POSITIVE, linewidth=2, marker=mark and "s", markersize=3,
            label="validation",
        )  # fmt: skip
        panel.set_title(quantity.capitalize(), loc="left", fontsize=11, color=INK, fontweight="bold")
        panel.set_xlabel("Epoch", color=INK)
        panel.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        panel.xaxis.set_major_locator(_whole_numbers())
    _legend(panels[0], "best")
    return figure


def contact_sheet(images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], *, columns: int = 6) -> Figure:
    """Films side by side with a caption under each, in the order given.

    `images` are uint8 (height, width), grey; `captions` is as long.

    Raises:
        UsageError: there are no films, or not as many captions.
    """
    if len(images) != len(captions) or not len(images):
        raise UsageError(
            f"A contact sheet needs one caption a film, got {len(images)} films, {len(captions)} captions."
        )
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = _figure((1.5 * columns, 1.72 * rows))
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for cell in cells:
        cell.set_axis_off()
    for cell, image, caption in zip(cells, images, captions, strict=False):
        cell.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        cell.set_title(_literal(caption), fontsize=8, color=INK, y=-0.16)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` as SVG or PNG, by the name's ending; whole or not at all.

    Raises:
        UsageError: another ending.
        OutputError: the folder cannot be written.
    """
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise UsageError(f"A figure is saved as .svg or .png, got {path.name}.")
    if path.suffix.lower() == ".svg":
        write_text(path, figure_svg(figure))
        return
    stream = io.BytesIO()
    with _quiet():
        figure.savefig(stream, format="png", dpi=_PNG_DOTS_PER_INCH, facecolor=PAPER, metadata={"Software": None})
    write_bytes(path, stream.getvalue())


def figure_svg(figure: Figure) -> str:
    """`figure` as SVG text: text stays text, and the same figure gives the same bytes."""
    import matplotlib

    stream = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _quiet(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cxray"}):
        figure.savefig(stream, format="svg", metadata=metadata, facecolor=PAPER)
    return stream.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    # A class named in a script that the default font lacks is a box in a PNG and right in an SVG; not a warning.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _figure(inches: tuple[float, float], margins: Margins | None = None) -> Figure:
    """An empty figure; fixed `margins` where the labels are ours, else as wide as the names of classes need."""
    from matplotlib.figure import Figure

    # Measuring every label doubles the time to draw, so it is done only where labels are not known beforehand.
    figure = Figure(figsize=inches, layout=None if margins else "constrained", facecolor=PAPER)
    if margins:
        figure.subplots_adjust(**margins)
    return figure


def _square(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Axes from 0 to 1 both ways."""
    figure = _figure(_SQUARE_INCHES, _SQUARE_MARGINS)
    axes = figure.subplots()
    _style(axes)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    return figure, axes


def _style(axes: Axes, grid_axis: Any = "both") -> None:
    axes.set_facecolor(PAPER)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(length=0, colors=MUTED, labelsize=9)
    axes.grid(visible=True, axis=grid_axis, color=RULE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_fontsize(10)
    axes.yaxis.label.set_fontsize(10)


def _mark(axes: Axes, x: float, y: float, text: str) -> None:
    axes.plot([x], [y], marker="D", markersize=7, color=POSITIVE, markeredgecolor=PAPER, zorder=5)
    inwards = (10, -16) if x < 0.6 else (-10, -16)
    side = "left" if x < 0.6 else "right"
    axes.annotate(text, (x, y), xytext=inwards, textcoords="offset points", fontsize=9, color=POSITIVE, ha=side)


def _bars(axes: Axes, columns: Columns, column: str, colour: str, hatch: str) -> None:
    widths = columns["high"] - columns["low"]
    axes.bar(
        columns["low"], columns[column], width=widths, align="edge", color=colour, alpha=0.85, hatch=hatch,
        edgecolor=PAPER, linewidth=0.6,
    )  # fmt: skip
    # Counts are whole films, so a panel with one film does not show "0.2 films".
    axes.yaxis.set_major_locator(_whole_numbers())
    axes.set_ylim(0, max(1.0, 1.08 * float(np.max(columns[column], initial=0.0))))


def _whole_numbers() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins="auto", integer=True, steps=[1, 2, 5, 10])


def _cells(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    rows, columns = shares.shape
    axes.add_patch(Rectangle((-0.5, -0.5), columns, rows, facecolor=SHADE, linewidth=0))
    # One collection of the filled cells: a patch for each of forty classes squared would take seconds to draw.
    filled = [(Rectangle((x - 0.5, y - 0.5), 1, 1), to_rgba(MODEL, shares[y, x])) for y, x in np.argwhere(shares > 0)]
    cells = PatchCollection([cell for cell, _ in filled], linewidth=0)
    cells.set_facecolor([colour for _, colour in filled])
    axes.add_collection(cells)
    axes.hlines(np.arange(0.5, rows - 1), -0.5, columns - 0.5, color=PAPER, linewidth=2)
    axes.vlines(np.arange(0.5, columns - 1), -0.5, rows - 0.5, color=PAPER, linewidth=2)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_aspect("equal")


def _interval_rows(
    axes: Axes, names: Sequence[str], values: npt.NDArray[np.float64], limits: npt.NDArray[np.float64]
) -> None:
    rows = np.arange(len(names))
    axes.hlines(rows, limits[:, 0], limits[:, 1], color=MODEL, linewidth=2.2)
    axes.plot(values, rows, linestyle="none", marker="o", markersize=6, color=MODEL, markeredgecolor=PAPER)
    for row in np.flatnonzero(np.isnan(values)).tolist():
        axes.text(0.5, row, "withheld", color=MUTED, fontsize=9, va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks(rows, [_literal(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)


def _shade_frozen(axes: Axes, epochs: npt.NDArray[np.float64], stage: npt.NDArray[Any], *, label_on_top: bool) -> None:
    # Loss starts high and accuracy low, so the word stands where the lines are not.
    frozen = epochs[stage == _FROZEN]
    if frozen.size:
        axes.axvspan(frozen.min() - 0.5, frozen.max() + 0.5, facecolor=SHADE, edgecolor=RULE, linewidth=0.8)
        where = axes.get_xaxis_transform()
        height, side = (0.97, "top") if label_on_top else (0.03, "bottom")
        axes.text(frozen.min() - 0.3, height, "frozen", transform=where, fontsize=8.5, color=MUTED, va=side)


def _legend(axes: Axes, place: Literal["best", "upper left", "lower left"]) -> None:
    axes.legend(loc=place, frameon=False, fontsize=9, labelcolor=INK, handlelength=2.4)


def _literal(name: str) -> str:
    """`name` as matplotlib shows it unchanged: a dollar sign would otherwise start mathematics."""
    return clip(printable(str(name)), _NAME_LENGTH).replace("$", r"\$")
