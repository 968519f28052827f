"""What a bundle is told about the films it was made from: the input gate, the features of validation films, and how far
its threshold holds when those are changed. All is measured with the engine that will serve.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.bundle import Bundle
from cxray.data.prepare import as_model_input
from cxray.evaluate.thresholds import Threshold
from cxray.model.films import LabelledFilms
from cxray.records import ImageRecord
from cxray.runtime import stress
from cxray.runtime.engine import Engine
from cxray.runtime.familiar import BATCH, Reference, features_of, fit_gate

# More films do not change the main directions of their features, but would cost seconds.
MOST_TRAINING_FILMS = 800
# Enough to see a rate fall by a tenth; every film is scored once a treatment.
MOST_STRESSED_FILMS = 200
FEWEST_STRESSED_FILMS = 10


def remember(
    engine: Engine,
    training: LabelledFilms,
    known: npt.NDArray[np.float32],
    records: Sequence[ImageRecord],
    folder: Path,
    *,
    training_features: npt.NDArray[np.float32] | None = None,
) -> dict[str, Any] | None:
    """Write `reference.npz` and, where there are enough films, `gate.npz` into a bundle's folder.

    `known` are the features (n, F) of the validation films `records`; `training_features` those of all films of
    `training`, where they are known already.

    Returns:
        The facts of the gate for `bundle.json`, or None without a gate.
    """
    labels = [record.label or "|".join(n for n, v in record.findings.items() if v) for record in records]
    names = [record.path.name for record in records]
    Reference(known, np.array(labels, dtype=str), np.array(names, dtype=str)).save(folder)
    step = -(-len(training) // MOST_TRAINING_FILMS)
    usual = _features(engine, training, step) if training_features is None else training_features[::step]
    return fit_gate(engine, usual, known, (training.card.height, training.card.width), folder)


def stressed(
    draft: Bundle, engine: Engine, validation: LabelledFilms, points: Mapping[str, Threshold]
) -> list[dict[str, Any]]:
    """The frozen threshold of the positive class on changed validation films, as `runtime.stress` gives it.

    Empty where there is no such threshold, or fewer than `FEWEST_STRESSED_FILMS` films on either side of it.
    """
    if draft.positive not in points or validation.targets.ndim != 1:
        return []
    column = draft.classes.index(draft.positive)
    rows = np.arange(len(validation))[:: -(-len(validation) // MOST_STRESSED_FILMS)]
    is_positive = validation.targets[rows] == column
    if min(is_positive.sum(), (~is_positive).sum()) < FEWEST_STRESSED_FILMS:
        return []

    def score(films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        batches = [as_model_input(films[at : at + BATCH]) for at in range(0, len(films), BATCH)]
        return np.concatenate([draft.probabilities(engine.run(batch)["logits"])[:, column] for batch in batches])

    films = validation.source.take(validation.indices[rows])
    found = stress.stress(score, films, is_positive, points[draft.positive].value)
    return [dataclasses.asdict(row) for row in found]


def _features(engine: Engine, films: LabelledFilms, step: int) -> npt.NDArray[np.float32]:
    indices = films.indices[::step]
    starts = range(0, len(indices), BATCH)
    return np.concatenate([features_of(engine, films.source.take(indices[at : at + BATCH])) for at in starts])
