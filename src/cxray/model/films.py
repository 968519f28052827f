"""The films of one split with what shall be learned about them: what all training starts from. No TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxray.config import InputCard
from cxray.data.cache import decode_all
from cxray.errors import UnreadableImage
from cxray.records import ImageRecord


class FilmSource(Protocol):
    """Anything that hands out prepared films by position: `data.cache.PreparedFilms`, or `DecodedFilms`."""

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8 (n, height, width)."""
        ...


@dataclasses.dataclass(frozen=True)
class DecodedFilms:
    """Films decoded anew whenever they are asked for, as the article does; costs the decoding in every epoch."""

    records: Sequence[ImageRecord]
    card: InputCard

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8 (n, height, width), decoded now.

        Raises:
            UnreadableImage: a film became unreadable since it was checked.
        """
        films = list(decode_all([self.records[index] for index in indices], self.card))
        for film in films:
            if isinstance(film, str):
                raise UnreadableImage(film)
        return np.stack(films)


@dataclasses.dataclass(frozen=True)
class LabelledFilms:
    """The films of one split, ready for the network.

    `indices` are positions in `source`; `targets` is int64 (n,) for classes or float32 (n, K) for findings (1, 0, NaN
    = unknown); `weights` is float32 (n,), the weight of each film in the loss.
    """

    source: FilmSource
    indices: npt.NDArray[np.int64]
    targets: npt.NDArray[Any]
    weights: npt.NDArray[np.float32]
    card: InputCard

    def __len__(self) -> int:
        return len(self.indices)


def film_weights(targets: npt.NDArray[Any], classes: int, *, balanced: bool) -> npt.NDArray[np.float32]:
    """float32 (n,): n / (K · n_class) for each film of a class, so that every class weighs the same; 1 for findings."""
    if targets.ndim == 2 or not balanced:
        return np.ones(len(targets), dtype=np.float32)
    counts = np.bincount(targets, minlength=classes)
    return np.asarray((len(targets) / (classes * np.maximum(counts, 1)))[targets], dtype=np.float32)


def positive_weights(targets: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """float32 (K,): known negatives over positives of each finding, at most 20, 1 where nothing is known."""
    positives = np.nansum(targets, axis=0)
    negatives = np.sum(targets == 0, axis=0)
    ratio = negatives / np.maximum(positives, 1)
    return np.asarray(np.where((positives == 0) | (negatives == 0), 1.0, np.clip(ratio, 1.0, 20.0)), dtype=np.float32)
