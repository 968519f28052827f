"""From a trained network to a closed bundle.

Order: calibrate on validation films (folded into the last layer) → write the graphs → compare ONNX with it → score
the validation films with the very engine that will serve → choose thresholds on that table → golden film → close.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxray import __version__, bundle, progress
from cxray.config import NO_POLICY, Recipe
from cxray.data.phantom import golden_film
from cxray.data.prepare import as_model_input, prepare_file
from cxray.errors import DataError
from cxray.evaluate import calibration, thresholds
from cxray.evaluate.screening import fingerprint
from cxray.model.familiarity import remember, stressed
from cxray.model.films import LabelledFilms
from cxray.model.fit import Fit
from cxray.model.parity import check_graph
from cxray.records import ImageRecord, Predictions
from cxray.rundir import atomic_path, file_sha256
from cxray.runtime.engine import Engine, open_engine
from cxray.runtime.predict import Answer, Predictor, as_table

PARITY_FILMS = 64


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a model is about: "classes" or "findings", their names, and the class that is thresholded ("" = none)."""

    task: str
    classes: tuple[str, ...]
    positive: str


@dataclasses.dataclass(frozen=True)
class Material:
    """The films of a run; `records` are the validation films in the order of `validation`."""

    training: LabelledFilms
    validation: LabelledFilms
    records: Sequence[ImageRecord]


def assemble(
    fit: Fit,
    recipe: Recipe,
    subject: Subject,
    films: Material,
    *,
    folder: Path,
    provenance: Mapping[str, Any],
) -> tuple[bundle.Bundle, Predictions]:
    """Write a bundle; returns it, loaded and verified, with the predictions for the validation films.

    `provenance` (JSON-able) goes into the bundle.

    Raises:
        BundleError: the graph does not reproduce the network within tolerance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    calibrated = _calibrate(fit, recipe, subject, films.validation)
    fit.network.save(folder)
    sample = _sample(films.validation)
    parity = check_graph(fit.network.predict_logits, folder / bundle.GRAPH, sample, subject.task)
    progress.say(f"ONNX graph agrees with the network within {parity.largest_difference:.1e} on {parity.films} films.")
    draft = _draft(folder, recipe, subject)
    engine = open_engine(draft.graph, "onnxruntime")
    table, features = _score(draft, engine, films)
    points = choose_thresholds(table, recipe.decision.policy, subject, fingerprint(table))
    bundle.save_facts(
        folder,
        {
            "name": recipe.name,
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "task": subject.task,
            "classes": list(subject.classes),
            "positive": subject.positive,
            "input": {**dataclasses.asdict(recipe.input), "layout": "NHWC", "dtype": "float32", "range": [0, 1]},
            "outputs": list(bundle.OUTPUTS),
            "head": fit.network.head,
            "calibration": {**calibrated, "table_sha256": fingerprint(table), "split": "validation"},
            "thresholds": {name: point.to_dict() for name, point in points.items()},
            "gate": remember(
                engine,
                films.training,
                features,
                films.records,
                folder,
                training_features=fit.known.training_features if fit.known else None,
            ),
            "stress": stressed(draft, engine, films.validation, points) if recipe.decision.stress else [],
            "golden": _golden(fit, folder, recipe, subject),
            "parity": {"films": parity.films, "largest_difference": parity.largest_difference},
            "intended_use": bundle.INTENDED_USE,
            "versions": {"cxray": __version__, **fit.network.versions()},
            "recipe": dataclasses.asdict(recipe),
            "recipe_fingerprint": recipe.fingerprint(),
            **provenance,
        },
    )
    closed = Predictor.open(folder, "onnxruntime").bundle
    return closed, _decided(table, closed)


def choose_thresholds(
    table: Predictions, policy: str, subject: Subject, table_sha256: str
) -> dict[str, thresholds.Threshold]:
    """The frozen operating point of the positive class, or of every finding; a finding that cannot have one is left
    out with a warning."""
    if policy == NO_POLICY:
        return {}
    names = subject.classes if subject.task == "findings" else [subject.positive] * bool(subject.positive)
    chosen = {}
    for name in names:
        k = subject.classes.index(name)
        truth = table.label == name if table.findings is None else table.findings[:, k]
        known = ~np.isnan(table.scores[:, k])
        if table.findings is not None:
            known &= ~np.isnan(table.findings[:, k])
        try:
            chosen[name] = thresholds.choose(
                policy,
                table.scores[known, k],
                np.asarray(truth[known], dtype=bool),
                "validation",
                table_sha256,
                patient=table.patient[known],
            )
        except DataError as error:
            progress.say(f"Warning: no threshold for {name}: {error}")
    return chosen


def film_set_fingerprint(digests: Sequence[str]) -> str:
    """SHA-256 over the sorted SHA-256 of all films: the same films give the same value, in any order or folder."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _calibrate(fit: Fit, recipe: Recipe, subject: Subject, validation: LabelledFilms) -> dict[str, Any]:
    if recipe.decision.calibration == "none":
        return {"method": "none"}
    if fit.known is not None:
        logits = fit.known.validation_logits
    else:
        logits = np.concatenate([fit.network.predict_logits(batch) for batch in _batches(validation)])
    if subject.task == "classes":
        temperature = calibration.fit_temperature(logits.astype(np.float64), validation.targets)
    else:
        temperature = calibration.fit_temperature_sigmoid(logits.astype(np.float64), validation.targets)
    fit.network.divide_logits(temperature)
    return {"method": "temperature", "temperature": temperature, "folded_into_graph": True}


def _batches(films: LabelledFilms) -> Any:
    for start in range(0, len(films), 64):
        yield as_model_input(films.source.take(films.indices[start : start + 64]))


def _sample(validation: LabelledFilms) -> npt.NDArray[np.uint8]:
    step = max(1, len(validation) // PARITY_FILMS)
    return validation.source.take(validation.indices[::step][:PARITY_FILMS])


def _draft(folder: Path, recipe: Recipe, subject: Subject) -> bundle.Bundle:
    """The bundle as far as it is known before its thresholds: enough to score films."""
    files = {bundle.GRAPH: file_sha256(folder / bundle.GRAPH)}
    return bundle.Bundle(
        folder, subject.task, subject.classes, subject.positive, recipe.input, thresholds={}, facts={"files": files}
    )


def _score(draft: bundle.Bundle, engine: Engine, films: Material) -> tuple[Predictions, npt.NDArray[np.float32]]:
    outputs = [engine.run(batch) for batch in _batches(films.validation)]
    scores = np.concatenate([draft.probabilities(output["logits"]) for output in outputs])
    answers = [Answer(record, row) for record, row in zip(films.records, scores, strict=True)]
    return as_table(draft, answers), np.concatenate([output["features"] for output in outputs])


def _golden(fit: Fit, folder: Path, recipe: Recipe, subject: Subject) -> dict[str, Any]:
    with atomic_path(folder / bundle.GOLDEN) as temporary:
        # Larger than the input and not square, so that a changed resize or padding is noticed too.
        side = round(1.7 * max(recipe.input.height, recipe.input.width))
        Image.fromarray(golden_film(side)[:, : round(0.9 * side)]).save(temporary, format="PNG", optimize=False)
    film = as_model_input(prepare_file(folder / bundle.GOLDEN, recipe.input)[np.newaxis])
    logits = np.asarray(fit.network.predict_logits(film))
    return {
        "logits": [float(value) for value in logits[0]],
        "scores": [float(value) for value in bundle.to_probabilities(logits, subject.task)[0]],
        "tolerance": bundle.GOLDEN_TOLERANCE,
        "film": "synthetic; no patient's film travels with the model",
    }


def _decided(table: Predictions, closed: bundle.Bundle) -> Predictions:
    metadata = dict(table.metadata)
    if closed.positive in closed.thresholds:
        metadata["threshold"] = np.full(len(table), closed.thresholds[closed.positive].value)
    decision = np.array(closed.decide(table.scores), dtype=object)
    return dataclasses.replace(table, decision=decision, metadata=metadata)
