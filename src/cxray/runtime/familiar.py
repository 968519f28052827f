"""What a bundle remembers of films: `reference.npz`, the features of validation films, and how gates are fitted.

No film is stored, only numbers, labels and file names.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.bundle import REFERENCE, Bundle
from cxray.data.prepare import as_model_input
from cxray.errors import BundleError
from cxray.rundir import atomic_path
from cxray.runtime import gate
from cxray.runtime.engine import Engine
from cxray.runtime.predict import Predictor

BATCH = 32
# With fewer films a limit that one in twenty exceeds cannot be told.
FEWEST_FILMS = 20
_FOLDS = 5

Features = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """`features` float32 (n, F) of the validation films, their `label` and `film` (file name), text (n,)."""

    features: npt.NDArray[np.float32]
    label: npt.NDArray[Any]
    film: npt.NDArray[Any]

    def save(self, bundle_folder: Path) -> None:
        """Write `reference.npz` into a bundle's folder."""
        content = io.BytesIO()
        np.savez(
            content,
            features=np.asarray(self.features, dtype=np.float32),
            label=np.array(list(self.label), dtype=str),
            film=np.array(list(self.film), dtype=str),
        )
        with atomic_path(bundle_folder / REFERENCE) as temporary:
            temporary.write_bytes(content.getvalue())

    @classmethod
    def of(cls, bundle: Bundle) -> Reference | None:
        """The reference films of a bundle, None when it was made without them.

        Raises:
            BundleError: the file is damaged.
        """
        if REFERENCE not in bundle.facts["files"]:
            return None
        try:
            with np.load(bundle.folder / REFERENCE, allow_pickle=False) as arrays:
                return cls(arrays["features"], arrays["label"], arrays["film"])
        except (OSError, ValueError, KeyError) as error:
            raise BundleError(
                f"{bundle.folder / REFERENCE} is damaged: {type(error).__name__} {error}.", "Copy the bundle again."
            ) from error


def features_of(engine: Engine, films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pooled features (n, F) of prepared films uint8 (n, height, width)."""
    starts = range(0, len(films), BATCH)
    return np.concatenate([engine.run(as_model_input(films[at : at + BATCH]))["features"] for at in starts])


def fit_gate(
    engine: Engine, training: Features, validation: Features, frame: tuple[int, int], folder: Path
) -> dict[str, Any] | None:
    """Fit the input gate on features of training and validation films and write it into a bundle's folder.

    `frame` is (height, width) of the model's input.

    Returns:
        The facts for `bundle.json`, or None where there are too few films for a gate.
    """
    if min(len(training), len(validation)) < FEWEST_FILMS:
        return None
    return gate.fit(training, validation, features_of(engine, gate.drawn_pictures(*frame))).save(folder)


def local_gate(predictor: Predictor, local: Features, folder: Path) -> dict[str, Any] | None:
    """A gate for films like those a bundle was adapted to, beside those it remembers.

    The limit is set on local films by cross-fitting: each is measured against directions that were found without it
    (in the manner of CV+; Barber and others 2021), so that the promise holds for the next local film.

    Returns:
        The facts for `bundle.json`; None, and so no gate, where there are too few films.
    """
    if len(local) < FEWEST_FILMS:
        return None
    reference = Reference.of(predictor.bundle)
    known = local if reference is None else np.concatenate([reference.features, local])
    card = predictor.bundle.card
    drawn = features_of(predictor.engine, gate.drawn_pictures(card.height, card.width))
    fold = np.random.default_rng(0).permutation(len(local)) % _FOLDS
    distances = np.empty(len(local))
    for number in range(_FOLDS):
        rest = local[fold != number]
        seen = rest if reference is None else np.concatenate([reference.features, rest])
        distances[fold == number] = gate.fit(seen, rest, drawn).residual(local[fold == number])
    return gate.fit(known, local, drawn).limited(distances).save(folder)
