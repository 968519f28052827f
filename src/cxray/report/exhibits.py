"""The pictures of one question: which figure is drawn from which table, what it shows and how it is read.

An exhibit whose table is absent is not left out silently: it stands with the reason that its record gives.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.report import figures, numbers, sentences, transfer_figures
from cxray.report.embed import inline_svg
from cxray.report.questions import Question
from cxray.rundir import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOTHING = Markup("")
_MOST_SLICES = 24
_ABSENT = "The table behind this exhibit was not made."
# Only the newcomer's own pictures are shown wherever a question is shown; the others have a place of their own.
NEWCOMER, EXPERT, OWN_PLACE = "newcomer", "expert", "own place"


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """A finished exhibit: `svg` is markup for the page, or "" with the reason in `missing`.

    `key` names it within its question, `anchor` within the page; `summary` is a sentence from records, `reading` says
    how to read it, `table` names the table behind it.
    """

    key: str
    title: str
    level: str
    reading: str
    summary: Markup = _NOTHING
    svg: Markup = _NOTHING
    missing: str = ""
    table: str = ""
    anchor: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether the figure is drawn for the whole width of a page."""
        return self.key in ("decision-curve", "overview", "floor", "slices", "transport", "risk-coverage", "robustness")


@dataclasses.dataclass(frozen=True)
class _Plan:
    key: str
    title: str
    level: str
    table: str
    record: str
    reading: str
    draw: Callable[[Question, Any], Figure]
    summary: Callable[[Question], Markup] = lambda question: Markup("")


def exhibits(question: Question, *, prefix: str = "", folder: Path | None = None) -> list[Exhibit]:
    """Draw every exhibit of `question`; with `folder`, each is also written there as `<prefix><key>.svg` and `.png`.

    Raises:
        OutputError: the folder cannot be written.
    """
    return [_made(plan, question, prefix, folder) for plan in _PLANS]


def class_confusion(evaluation: Evaluation, *, key: str = "", folder: Path | None = None) -> Exhibit | None:
    """Every class by the most probable class; None when the judge made no such table."""
    table = evaluation.tables.get("confusion_classes")
    if table is None:
        return None
    truth, answers = (list(dict.fromkeys(table[column].tolist())) for column in ("truth", "most_probable"))
    counts = np.asarray(table["films"]).reshape(len(truth), len(answers))
    figure = figures.confusion_matrix(counts, truth=truth, answers=answers)
    reading = (
        "Each row holds the films of one true class, each column what the model calls them. Right answers lie on the "
        "diagonal; a darker cell holds more of its row."
    )
    return _drawn(
        Exhibit("confusion-classes", "Which class is taken for which", NEWCOMER, reading, table="confusion_classes"),
        figure, f"{key}confusion-classes", folder,
    )  # fmt: skip


def overview(questions: list[Question], *, key: str = "", folder: Path | None = None) -> Exhibit | None:
    """The AUROC of every question with its interval; None for a single question."""
    if len(questions) < 2:
        return None
    records = [question.record("auroc") for question in questions]
    rows = [(r.value, r.low, r.high) if r is not None else (None, None, None) for r in records]
    values = np.array(rows, dtype=np.float64)
    names = [question.label for question in questions]
    reading = (
        "One line a class: the dot is the AUROC, the bar its interval. 0.5 is a coin toss, 1 is perfect. Where bars "
        "overlap widely, the order of the dots means little."
    )
    figure = figures.interval_plot(names, values[:, 0], values[:, 1:], quantity="AUROC")
    return _drawn(Exhibit("overview", "Ranking ability by class", NEWCOMER, reading), figure, f"{key}overview", folder)


def slug(label: str) -> str:
    """A label as part of a file name: ASCII letters, digits and hyphens, at most 30; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:30].rstrip("-")


def _made(plan: _Plan, question: Question, prefix: str, folder: Path | None) -> Exhibit:
    exhibit = Exhibit(plan.key, plan.title, plan.level, plan.reading, plan.summary(question), table=plan.table)
    table = question.table(plan.table)
    if table is None:
        record = question.record(plan.record)
        reason = record.withheld if record is not None and record.withheld else _ABSENT
        return dataclasses.replace(exhibit, missing=reason, summary=Markup(""), anchor=prefix + plan.key)
    return _drawn(exhibit, plan.draw(question, table), prefix + plan.key, folder)


def _drawn(exhibit: Exhibit, figure: Figure, name: str, folder: Path | None) -> Exhibit:
    svg = figures.figure_svg(figure)
    if folder is not None:
        write_text(folder / f"{name}.svg", svg)
        figures.save_figure(figure, folder / f"{name}.png")
    drawing = inline_svg(svg, name=name, title=f"{exhibit.title}. {exhibit.reading}")
    return dataclasses.replace(exhibit, svg=drawing, anchor=name)


def _roc(question: Question, table: Any) -> Figure:
    return figures.roc_curve(table, question.table("roc_band"), operating_point=question.operating_point)


def _precision_recall(question: Question, table: Any) -> Figure:
    recall, precision = question.value("sensitivity"), question.value("ppv")
    point = None if recall is None or precision is None else (recall, precision)
    return figures.precision_recall(table, prevalence=question.value("prevalence"), operating_point=point)


def _histogram(question: Question, table: Any) -> Figure:
    without = question.other or f"not {question.label}"
    return figures.score_histogram(
        table, positive=question.label, negative=without, threshold=question.threshold.get("value")
    )


def _confusion(question: Question, table: Any) -> Figure:
    del table  # the cells are asked for by name, whatever their order in the table
    counts = np.array([[question.films(cell) for cell in row] for row in (("found", "missed"), ("alarms", "cleared"))])
    names = [question.label, question.other or f"not {question.label}"]
    return figures.confusion_matrix(counts, truth=names, answers=names)


def _calibration(question: Question, table: Any) -> Figure:
    return figures.calibration_curve(table, question.table("calibration_band"), question.table("calibration_smooth"))


def _floor(question: Question, table: Any) -> Figure:
    """The model on top, then the probes, the strongest first."""
    own = question.record("auroc")
    model = (own.value, own.low, own.high) if own is not None else (None, None, None)
    rows = np.array([model, *zip(table["auroc"], table["low"], table["high"], strict=True)], dtype=np.float64)
    names = ["the model", *(str(name) for name in table["probe"])]
    return figures.interval_plot(names, rows[:, 0], rows[:, 1:], quantity="AUROC: 0.5 is a coin toss")


def _slices(question: Question, table: Any) -> Figure:
    names = [
        f"{name}: {numbers.title(str(measure))}" for name, measure in zip(table["slice"], table["measure"], strict=True)
    ]
    values = np.column_stack([table[column] for column in ("value", "low", "high")]).astype(np.float64)[:_MOST_SLICES]
    return figures.interval_plot(names[:_MOST_SLICES], values[:, 0], values[:, 1:], quantity="0 to 1, larger is better")


def _transport(question: Question, table: Any) -> Figure:
    del question
    return transfer_figures.transport_panel(table)


def _robustness(question: Question, table: Any) -> Figure:
    del question
    return transfer_figures.robustness(table)


def _risk_coverage(question: Question, table: Any) -> Figure:
    del question
    return transfer_figures.risk_coverage(table)


def _decision(question: Question, table: Any) -> Figure:
    return figures.decision_curve(table, threshold=question.threshold.get("value"))


_PLANS = (
    _Plan(
        "score-histogram",
        "Two histograms: how well the scores part",
        NEWCOMER,
        "score_histogram",
        "auroc",
        "Upper panel: films with the finding; lower panel: films without. The dashed line is the threshold. Upper bars "
        "to its left are misses, lower bars to its right are false alarms.",
        _histogram,
    ),
    _Plan(
        "roc",
        "Ranking ability: the ROC curve",
        NEWCOMER,
        "roc",
        "auroc",
        "Each point is a threshold: how many ill films it finds (up) for how many false alarms (right). The closer to "
        "the upper left corner, the better; the dotted diagonal is a coin toss. The band is the interval of the curve.",
        _roc,
        sentences.ranking,
    ),
    _Plan(
        "calibration",
        "Does 80% mean 80%?",
        NEWCOMER,
        "calibration",
        "calibration_slope",
        "On the diagonal, of the films scored 0.8 eight in ten show the finding. A solid line below it: scores too "
        "high; above it: too low. Inside the shaded range the difference may be chance.",
        _calibration,
        sentences.calibration,
    ),
    _Plan(
        "confusion-matrix",
        "Confusion matrix",
        EXPERT,
        "confusion",
        "sensitivity",
        "Rows are the truth, columns the model's answer, cells are films. Misses are upper right, false alarms lower "
        "left.",
        _confusion,
    ),
    _Plan(
        "precision-recall",
        "Precision and recall",
        EXPERT,
        "precision_recall",
        "average_precision",
        "Each point is a threshold: the share of alarms that are right (up) against the share of ill films found "
        "(right). It holds only at this table's prevalence, the dotted line.",
        _precision_recall,
    ),
    _Plan(
        "decision-curve",
        "Is acting on it worth it? The decision curve",
        EXPERT,
        "decision_curve",
        "net_benefit",
        "Read it at the threshold probability at which you would act. The model is worth using only where the solid "
        "line lies above both acting on every film (dashed) and acting on none (dotted).",
        _decision,
    ),
    _Plan(
        "floor",
        "The model beside shortcuts",
        OWN_PLACE,
        "floor",
        "gain_over_floor",
        "Dots are the AUROC of the model and of small probes that see only the border, the corners, the size, the "
        "bytes or the brightness of a film; bars are intervals. The whole thumbnail is a simple baseline, not a "
        "shortcut.",
        _floor,
    ),
    _Plan(
        "slices",
        "Group by group",
        OWN_PLACE,
        "slices",
        "auroc",
        "One line a group and measure: the dot is the value, the bar its interval. Where bars overlap widely, chance "
        "may explain the difference; “withheld” means too few patients to say.",
        _slices,
    ),
    _Plan(
        "transport",
        "Transport: from validation to these films",
        OWN_PLACE,
        "transport",
        "score_shift_positive",
        "Hollow squares: validation patients, on whom the threshold was chosen. Discs: these films, at the same "
        "threshold. A disc away from its square is what the change of films did.",
        _transport,
    ),
    _Plan(
        "robustness",
        "Robustness: films that look different",
        OWN_PLACE,
        "stress",
        "sensitivity",
        "Each line is the same set of validation films, changed on purpose: the vertical lines mark the unchanged "
        "films. A mark far to the left of its line is a rate that the change took away.",
        _robustness,
    ),
    _Plan(
        "risk-coverage",
        "Risk and coverage",
        OWN_PLACE,
        "risk_coverage",
        "area_under_risk_coverage",
        "From left to right, more and more films are answered, the surest first; the height is the share of wrong "
        "decisions among them. A model that knows when it does not know starts low and rises late.",
        _risk_coverage,
    ),
)
