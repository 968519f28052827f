"""The page of one training run: what was trained on which films, how it went, how it was judged, what to do next.

Everything comes from the facts that the run wrote down (`run.json`), its history and the judgements of its predictions.
A fact that is missing leaves its line out; it never breaks the page: a run that ended badly needs it most.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from cxray.evaluate.evaluation import Evaluation
from cxray.report import figures, numbers, sentences
from cxray.report.embed import inline_svg
from cxray.report.judgement import Judgement, judgement
from cxray.report.page import FIGURES, REPORT
from cxray.report.pages import picture, write_page
from cxray.rundir import write_text

CURVES = "training_curves"
_CURVE_COLUMNS = ("epoch", "stage", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
_CURVES_READING = (
    "Each epoch is one pass over the training films. Both lines should improve together. When training goes on "
    "improving and validation does not, the network learns the films by heart: overfitting. The upright dashed line "
    "marks the epoch whose weights were kept."
)
# Where a run keeps the tables of its judgements, when it does.
_TABLES = "evaluation/{}/tables/"


@dataclasses.dataclass(frozen=True)
class Judged:
    """A judgement on the run's page: `folder` is where its tables lie, "" when they were not kept."""

    title: str
    lead: str
    judged: Judgement
    folder: str


@dataclasses.dataclass(frozen=True)
class Split:
    """One line of the film table; a count is None where the run did not write it down."""

    name: str
    films: int | None
    patients: int | None
    classes: Mapping[str, int]


def write_run_report(
    run: Path,
    facts: Mapping[str, Any],
    history: Sequence[Any],
    evaluation: Evaluation | None,
    test_evaluation: Evaluation | None = None,
    samples: bytes | None = None,
) -> Path:
    """Write `run/report.html` and the figures of the run to `run/figures/`; returns the page's path.

    `facts` is what the run wrote as `run.json`; every key may be missing. `history` are rows with the fields of
    `Epoch`. `evaluation` judges the validation films, `test_evaluation` the test films, shown only when given.
    `samples` is a PNG of training films.

    Raises:
        OutputError: the folder cannot be written.
    """
    return write_page(
        run / REPORT,
        "run.html.j2",
        facts=facts,
        summary=_summary(facts, history),
        curves=_curves(run / FIGURES, facts, history),
        curves_reading=_CURVES_READING,
        last=history[-1] if history else None,
        splits=_splits(facts),
        classes=list(dict.fromkeys(name for split in _splits(facts) for name in split.classes)),
        thresholds=_thresholds(facts),
        judgements=_judgements(run, evaluation, test_evaluation),
        samples=picture(samples) if samples else "",
        notes=[str(note) for note in _sequence(facts.get("notes"))],
        identity=_mapping(facts.get("identity")),
        passed_over=_mapping(facts.get("passed_over")),
        unreadable=[_path_and_reason(entry) for entry in _sequence(facts.get("unreadable"))],
        versions=_mapping(facts.get("versions")),
        bundle=_mapping(facts.get("bundle")).get("id"),
        calibration=_settled(_mapping(_mapping(facts.get("bundle")).get("calibration"))),
        commands=_commands(run, facts, has_test=test_evaluation is not None),
    )


def _summary(facts: Mapping[str, Any], history: Sequence[Any]) -> Markup:
    """The run in one or two sentences, as far as the facts reach."""
    training = next((split for split in _splits(facts) if split.name == "train"), None)
    parts = [Markup("{} was trained").format(sentences.name(str(facts.get("backbone") or "A network")))]
    if training is not None and training.films is not None:
        parts.append(
            Markup("on <strong>{} films</strong>").format(sentences.fact(training.films, "splits/train/films"))
        )
    if training is not None and training.patients:
        parts.append(Markup("of {} patients").format(sentences.fact(training.patients, "splits/train/patients")))
    text = Markup(" ").join(parts) + "."
    best = facts.get("best_epoch")
    if best is not None and int(best) == len(history):
        text += Markup(" The last of {} epochs is the model.").format(sentences.fact(int(best), "best_epoch"))
    elif best is not None and history:
        text += Markup(" Epoch {} of {} was best on the validation films and is the model.").format(
            sentences.fact(int(best), "best_epoch"), len(history)
        )
    if facts.get("interrupted"):
        text += Markup(" <strong>The training was interrupted.</strong>")
    return text


def _curves(folder: Path, facts: Mapping[str, Any], history: Sequence[Any]) -> Markup:
    if not history:
        return Markup("")
    columns = {name: np.array([getattr(epoch, name) for epoch in history]) for name in _CURVE_COLUMNS}
    best = facts.get("best_epoch")
    figure = figures.training_curves(columns, best_epoch=None if best is None else int(best))
    figures.save_figure(figure, folder / f"{CURVES}.png")
    svg = figures.figure_svg(figure)
    write_text(folder / f"{CURVES}.svg", svg)
    return inline_svg(svg, name=CURVES, title=f"Loss and accuracy by epoch. {_CURVES_READING}")


def _splits(facts: Mapping[str, Any]) -> list[Split]:
    rows = []
    for name, counts in _mapping(facts.get("splits")).items():
        known = _mapping(counts)
        classes = {str(key): int(value) for key, value in _mapping(known.get("classes")).items()}
        rows.append(Split(str(name), known.get("films"), known.get("patients"), classes))
    return rows


def _thresholds(facts: Mapping[str, Any]) -> list[tuple[str, float, Markup]]:
    """Class, threshold and where it came from, for every frozen threshold."""
    frozen = _mapping(_mapping(facts.get("bundle")).get("thresholds"))
    return [
        (str(name), float(entry["value"]), sentences.chosen_on(entry))
        for name, entry in frozen.items()
        if isinstance(entry, Mapping) and entry.get("value") is not None
    ]


def _judgements(run: Path, evaluation: Evaluation | None, test_evaluation: Evaluation | None) -> list[Judged]:
    wanted = (
        (
            "validation",
            evaluation,
            "Judged on the validation patients",
            "The best epoch and the threshold were chosen on these very films, so these numbers flatter the model. "
            "They are for choosing, not for claiming.",
        ),
        (
            "test",
            test_evaluation,
            "Judged on the sealed test patients",
            "The test films were opened after the model and its threshold were closed.",
        ),
    )
    return [
        Judged(title, lead, judgement(given, key=f"{name}-", folder=run / FIGURES), _tables_of(run, name))
        for name, given, title, lead in wanted
        if given is not None
    ]


def _tables_of(run: Path, name: str) -> str:
    folder = _TABLES.format(name)
    return folder if (run / folder).is_dir() else ""


def _commands(run: Path, facts: Mapping[str, Any], *, has_test: bool) -> list[tuple[str, str]]:
    """What can be done with the run, as (purpose, literal command)."""
    bundle = shlex.quote(str(run / "bundle"))
    data = str(facts.get("data") or "")
    films = shlex.quote(str(Path(data) / "test")) if data and (Path(data) / "test").is_dir() else "FILMS"
    first = "Score films: the table holds a score and the decision at the frozen threshold for each"
    judge = "Judge that table: intervals, calibration, mistakes, a page like this one"
    commands = [
        (first, f"cxray predict {bundle} {films} --out test.csv"),
        (judge, f"cxray evaluate test.csv --bundle {bundle} --out judged"),
    ]
    validation = shlex.quote(str(run / "predictions" / "validation.csv"))
    maps = "Test the model's maps on its validation patients; only then reports and pages show any (minutes)"
    commands.append((maps, f"cxray explain {bundle} --card {validation}"))
    if has_test:
        commands[0] = (first, f"cxray predict {bundle} FILMS --out new.csv")
        commands[1] = (judge, f"cxray evaluate new.csv --bundle {bundle} --out judged")
    return commands


def _settled(values: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Names and values as text; numbers in short."""
    return [
        (str(key).replace("_", " "), numbers.plain(value) if isinstance(value, float) else str(value))
        for key, value in values.items()
        if value is not None and value != ""
    ]


def _path_and_reason(entry: Any) -> tuple[str, str]:
    parts = [str(part) for part in _sequence(entry)] or [str(entry)]
    return parts[0], " ".join(parts[1:])


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
