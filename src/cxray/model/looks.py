"""The look of a film: how its grey values are spread, and how strong its grain is, lent to other training films.

Machine, plate, exposure and processing decide both, and where ill and healthy people met different ones, a network
learns the look and calls it illness. Here training films borrow the look of other training films, whatever their label,
and keep their shapes: grey values by matching histograms, grain by giving each band of spatial frequencies the power it
has in the other film. Amplitudes from other films against a change of domain: Yang & Soatto 2020 (arXiv:2004.05498), Xu
et al. 2021 (arXiv:2105.14159); there every amplitude is replaced, here only the power by band, so that no ghost of the
other film appears. The edge of a black frame counts as grain too, so framed films lend some of their frame's sharpness.
What the network makes of all this in its first layers `harmonise.py` takes out again, where a recipe says so.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cxray.config import AugmentSettings
from cxray.data.prepare import as_model_input
from cxray.errors import DataError
from cxray.model.films import LabelledFilms

GREY_LEVELS = 256
# As many looks as are kept: enough of every machine, and a few megabytes however many films there are.
MOST_LOOKS = 2048
# Coarser than four waves across a film lie heart, lungs and opacities, not grain.
_COARSEST_WAVES = 4.0
# At most fourfold amplitude either way: a film without any grain cannot lend its silence.
_MOST_GAIN = math.log(4.0)
_BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Looks:
    """Looks to borrow, one a row. `grey` float32 (m, 255): of a film's pixels that are not black, the share up to each
    level 1 to 255. `grain` float64 (m, bands): the logarithm of the mean power of each band."""

    grey: Any
    grain: Any

    @classmethod
    def of(cls, films: npt.NDArray[np.float32]) -> Looks:
        """The looks of films float32 (m, height, width, 1), 0–1."""
        # Counting grey levels has no repeatable kernel on a GPU, and tf.data changes films on the processor anyway.
        with tf.device("CPU:0"):
            given = tf.constant(films)
            spectrum = tf.signal.rfft2d(given[..., 0])
            return cls(_grey_of(_levels(given))[0], _band_power(spectrum, given.shape[1], given.shape[2]))

    @classmethod
    def joined(cls, parts: Sequence[Looks]) -> Looks:
        """All looks of `parts` but those of films that are black all over, which have none to lend.

        Raises:
            DataError: no film is left.
        """
        with tf.device("CPU:0"):
            grey = tf.concat([part.grey for part in parts], axis=0)
            grain = tf.concat([part.grain for part in parts], axis=0)
            rows = tf.where(grey[:, -1] > 0)[:, 0]
            if not len(rows):
                raise DataError("Every training film is black all over, so there is no look to borrow.")
            return cls(tf.gather(grey, rows), tf.gather(grain, rows))


def borrows(settings: AugmentSettings) -> bool:
    """Whether training films borrow looks."""
    return bool(settings.grey_exchange_fraction or settings.grain_exchange_fraction)


def looks_to_borrow(films: LabelledFilms, settings: AugmentSettings, seed: int) -> Looks | None:
    """The looks of the training films, at most 2,048 of them chosen by `seed`; None when the recipe borrows none.

    Raises:
        DataError: every film is black all over.
    """
    if not borrows(settings):
        return None
    order = np.random.default_rng([seed, 11]).permutation(len(films))[:MOST_LOOKS]
    chosen = films.indices[np.sort(order)]
    return Looks.joined(
        [
            Looks.of(as_model_input(films.source.take(chosen[start : start + _BATCH])))
            for start in range(0, len(chosen), _BATCH)
        ]
    )


def borrow_grain(films: Any, grain: Any, weight: Any) -> Any:
    """Give each band of spatial frequencies its power in another film; float32 (N, height, width, 1), 0–1.

    `grain` (N, bands) is of the other films, `weight` (N,) how far to go, in the logarithm of power: 0 to 1. Margins
    that are black all along stay so: they are padding.
    """
    height, width = films.shape[1], films.shape[2]
    spectrum = tf.signal.rfft2d(films[..., 0])
    gain = tf.clip_by_value((grain - _band_power(spectrum, height, width)) / 2, -_MOST_GAIN, _MOST_GAIN)
    # A last column of zeros: what is coarser than grain keeps its power.
    by_band = tf.cast(tf.exp(tf.pad(gain * tf.cast(weight, tf.float64)[:, None], [[0, 0], [0, 1]])), tf.complex64)
    by_frequency = tf.gather(by_band, tf.constant(_bands(height, width)), axis=1)
    changed = tf.signal.irfft2d(spectrum * by_frequency, fft_length=[height, width])
    return tf.where(_inside_padding(films), tf.clip_by_value(changed, 0.0, 1.0)[..., tf.newaxis], 0.0)


def borrow_grey(films: Any, grey: Any, weight: Any) -> Any:
    """Draw grey values towards those of equal rank in another film; float32 (N, height, width, 1), 0–1.

    `grey` (N, 255) is of the other films, `weight` (N,) how far to go, 0 to 1. Black stays black and does not count.
    """
    levels = _levels(films)
    shares, counts = _grey_of(levels)
    # The middle of a level's ranks, so that a film with its own look stays as it is.
    ranks = shares - counts / 2
    matched = tf.cast(tf.searchsorted(grey, ranks) + 1, tf.float32) / (GREY_LEVELS - 1)
    table = tf.pad(tf.minimum(matched, 1.0), [[0, 0], [1, 0]])
    borrowed = tf.reshape(tf.gather(table, levels, batch_dims=1), tf.shape(films))
    return films + weight[:, None, None, None] * (borrowed - films)


def _inside_padding(films: Any) -> Any:
    """bool (N, height, width, 1): between the first and the last row, and column, that are not black all along."""
    lit = films > 0
    along = [tf.cast(tf.reduce_any(lit, axis=axis, keepdims=True), tf.int32) for axis in (2, 1)]
    reached = [
        (tf.cumsum(line, axis=axis) > 0) & (tf.cumsum(line, axis=axis, reverse=True) > 0)
        for line, axis in zip(along, (1, 2), strict=True)
    ]
    return reached[0] & reached[1]


def _levels(films: Any) -> Any:
    """int32 (N, pixels): grey levels 0 to 255."""
    return tf.reshape(tf.cast(films * (GREY_LEVELS - 1) + 0.5, tf.int32), (tf.shape(films)[0], -1))


def _grey_of(levels: Any) -> tuple[Any, Any]:
    """Shares of pixels up to and at each level 1 to 255, of all that are not black: float32 (N, 255) each."""
    counts = tf.math.bincount(levels, minlength=GREY_LEVELS, maxlength=GREY_LEVELS, axis=-1)
    counts = tf.cast(counts[:, 1:], tf.float32)
    counts /= tf.maximum(tf.reduce_sum(counts, axis=1, keepdims=True), 1.0)
    return tf.cumsum(counts, axis=1), counts


def _band_power(spectrum: Any, height: int, width: int) -> Any:
    """float64 (N, bands): the logarithm of the mean power of each band."""
    bands = _bands(height, width).ravel()
    member = np.eye(bands.max() + 1, dtype=np.float32)[bands][:, :-1]
    power = tf.reshape(tf.square(tf.abs(spectrum)), (tf.shape(spectrum)[0], -1))
    # Film by film, and in double precision: the same film rounds to the same grain in a batch of any size, so that
    # several workers see what one process sees.
    mean = tf.matmul(power[:, tf.newaxis], member / np.maximum(member.sum(axis=0), 1))[:, 0]
    return tf.math.log(tf.cast(mean, tf.float64) + 1e-6)


@functools.cache
def _bands(height: int, width: int) -> npt.NDArray[np.int32]:
    """The band of every frequency of `rfft2d`, int32 (height, width // 2 + 1): half an octave each, finest last, and
    behind it one more for everything coarser."""
    short = min(height, width)
    rows, columns = np.fft.fftfreq(height) * short, np.fft.rfftfreq(width) * short
    waves = np.hypot(rows[:, None], columns[None, :])
    count = max(1, math.ceil(2 * math.log2(max(waves.max() / _COARSEST_WAVES, 1.0))))
    octaves = np.log2(np.maximum(waves, 1e-9) / _COARSEST_WAVES)
    band = np.minimum(np.floor(2 * octaves), count - 1)
    return np.where(octaves < 0, count, band).astype(np.int32)
