"""Films like this one: the validation films whose features are nearest.

A bundle may carry `reference.npz` (`features` float32 (n, F), `label` and `film` str (n,)): what validation films
looked like to the model, by file name. Pictures are shown only when somebody gives the folder that holds them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import BundleError
from cxray.runtime.familiar import Reference


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A film like the one asked about: its file name, label, and cosine similarity of features, -1 to 1.

    `usual` is the share of reference films whose own nearest neighbour is less alike than this one: 0.02 means that
    such a distant neighbour is rare.
    """

    film: str
    label: str
    similarity: float
    usual: float


def nearest(
    reference: Reference, features: npt.NDArray[Any], *, count: int = 5, leave_out: str = ""
) -> list[Neighbour]:
    """The `count` reference films most like a film with `features` (F,), most alike first.

    `leave_out` names a film that shall not be its own neighbour. Features that are all 0 have no neighbours.

    Raises:
        BundleError: the reference was made by a network with other features.
    """
    if reference.features.shape[1] != len(features):
        raise BundleError(
            f"The reference films have {reference.features.shape[1]} features, this film {len(features)}.",
            "Copy the bundle again.",
        )
    kept = np.array([name != leave_out for name in reference.film], dtype=bool)
    directions = _unit(reference.features[kept])
    asked = np.asarray(features, dtype=np.float32)
    if not np.any(asked) or not kept.any():
        return []
    alike = directions @ (asked / np.linalg.norm(asked))
    closest = _closest_of_each(directions)
    order = np.argsort(-alike, kind="stable")[:count]
    film, label = reference.film[kept], reference.label[kept]
    return [Neighbour(str(film[k]), str(label[k]), float(alike[k]), float((closest < alike[k]).mean())) for k in order]


def _closest_of_each(directions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Similarity of each reference film to its own nearest neighbour (n,)."""
    alike = directions @ directions.T
    np.fill_diagonal(alike, -1)
    return np.asarray(alike.max(axis=1))


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)
