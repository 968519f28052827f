"""What a bundle is told about the films it was made from: the input gate, and the features of validation films.

Both are measured with the engine that will serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.model.films import LabelledFilms
from cxray.records import ImageRecord
from cxray.runtime.engine import Engine
from cxray.runtime.familiar import BATCH, Reference, features_of, fit_gate

# More films do not change the main directions of their features, but would cost seconds.
MOST_TRAINING_FILMS = 800


def remember(
    engine: Engine,
    training: LabelledFilms,
    known: npt.NDArray[np.float32],
    records: Sequence[ImageRecord],
    folder: Path,
) -> dict[str, Any] | None:
    """Write `reference.npz` and, where there are enough films, `gate.npz` into a bundle's folder.

    `known` are the features (n, F) of the validation films `records`.

    Returns:
        The facts of the gate for `bundle.json`, or None without a gate.
    """
    labels = [record.label or "|".join(n for n, v in record.findings.items() if v) for record in records]
    names = [record.path.name for record in records]
    Reference(known, np.array(labels, dtype=str), np.array(names, dtype=str)).save(folder)
    usual = _features(engine, training, -(-len(training) // MOST_TRAINING_FILMS))
    return fit_gate(engine, usual, known, (training.card.height, training.card.width), folder)


def _features(engine: Engine, films: LabelledFilms, step: int) -> npt.NDArray[np.float32]:
    indices = films.indices[::step]
    starts = range(0, len(indices), BATCH)
    return np.concatenate([features_of(engine, films.source.take(indices[at : at + BATCH])) for at in starts])
