"""The input gate: is this film like those the model was trained on?

Three answers travel with every prediction: "inside" (like the training films), "outside" (a score may be given, but
nothing measured vouches for it) and "not_radiograph" (no score of a chest model means anything here).

One number decides: the part of a film's pooled features that the main directions of the training films cannot
reproduce, as a multiple of the limit that only a stated share of validation films exceeds. Residuals of this kind
are the core of ViM (Wang and others, CVPR 2022); scaling each feature vector to length 1 first follows deep nearest
neighbours (Sun and others, ICML 2022). The step from "outside" to "not_radiograph" is set against pictures that
are drawn here and surely are no radiographs; where the network's features do not set even these apart (a small network
on synthetic films), nothing but a blank film is called "not_radiograph". No TensorFlow.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.bundle import GATE, Bundle
from cxray.errors import BundleError
from cxray.rundir import atomic_path

INSIDE, OUTSIDE, NOT_RADIOGRAPH = "inside", "outside", "not_radiograph"
ANSWERS = (INSIDE, OUTSIDE, NOT_RADIOGRAPH)
FALSE_FLAG_RATE = 0.05
MOST_DIRECTIONS = 32
# Of the way from the limit (1) to the distance of the nearest twentieth of the drawn pictures, where it is beyond.
NOT_RADIOGRAPH_SHARE = 0.75
# Standard deviation of grey (0–1) below which a film shows nothing at all.
BLANK = 0.01
# With fewer films a share of flags says nothing about a hospital.
MINIMUM_BATCH = 20

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Gate:
    """What was learnt of the training films.

    `mean` (F,) and `directions` (k, F) span what is usual among their features, each scaled to length 1; `limit` is
    the squared residual that a share of `false_flag_rate` of the validation films exceeds; `far` is the multiple of
    it from which a picture counts as no radiograph, infinite when the features cannot tell; `n_calibration` counts the
    validation films.
    """

    mean: Floats
    directions: Floats
    limit: float
    far: float
    false_flag_rate: float
    n_calibration: int

    def distance(self, features: npt.NDArray[Any]) -> Floats:
        """Features (N, F) to distances (N,): 1 = the limit; not finite where the features are not."""
        return self.residual(features) / self.limit

    def residual(self, features: npt.NDArray[Any]) -> Floats:
        """Features (N, F) to squared residuals (N,), the measure that `limit` cuts."""
        return _residual(features, self.mean, self.directions)

    def limited(self, residuals: Floats) -> Gate:
        """This gate with the limit that these residuals of calibration films ask for; `far` stays where it was."""
        limit = _limit(residuals, self.false_flag_rate)
        far = max(1.0, self.far * self.limit / limit)
        return dataclasses.replace(self, limit=limit, far=far, n_calibration=len(residuals))

    def judge(self, features: npt.NDArray[Any], films: npt.NDArray[np.uint8]) -> list[Verdict]:
        """One verdict a film, from features (N, F) and prepared films uint8 (N, height, width)."""
        spread = films.reshape(len(films), -1).std(axis=1) / 255
        return [self._verdict(float(d), float(s)) for d, s in zip(self.distance(features), spread, strict=True)]

    def _verdict(self, distance: float, spread: float) -> Verdict:
        if spread < BLANK:
            return Verdict(NOT_RADIOGRAPH, distance, "The film is blank.")
        if not distance < self.far:  # a distance that is no number is far
            return Verdict(NOT_RADIOGRAPH, distance, "The picture is far from every film the model was trained on.")
        if distance > 1:
            return Verdict(OUTSIDE, distance, "The film differs from those the model was trained on.")
        return Verdict(INSIDE, distance, "")

    def save(self, bundle_folder: Path) -> dict[str, Any]:
        """Write the arrays into the bundle and return the facts for `bundle.json`."""
        content = io.BytesIO()
        np.savez(content, mean=self.mean.astype(np.float32), directions=self.directions.astype(np.float32))
        with atomic_path(bundle_folder / GATE) as temporary:
            temporary.write_bytes(content.getvalue())
        return {
            "method": "residual of unit features",
            "limit": self.limit,
            "far": self.far if np.isfinite(self.far) else None,
            "false_flag_rate": self.false_flag_rate,
            "n_calibration": self.n_calibration,
        }

    @classmethod
    def of(cls, bundle: Bundle) -> Gate | None:
        """The gate of a bundle, None when it was made without one.

        Raises:
            BundleError: the gate's description or file is damaged.
        """
        facts = bundle.facts.get("gate")
        if not facts:
            return None
        try:
            with np.load(bundle.folder / GATE, allow_pickle=False) as arrays:
                mean, directions = arrays["mean"].astype(np.float64), arrays["directions"].astype(np.float64)
            numbers = {name: float(facts[name]) for name in ("limit", "false_flag_rate")}
            far = float("inf") if facts["far"] is None else float(facts["far"])
            return cls(mean, directions, far=far, **numbers, n_calibration=int(facts["n_calibration"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"The input gate of {bundle.folder} is damaged: {type(error).__name__} {error}.",
                "Copy the bundle again, or train anew.",
            ) from error


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The gate's answer for one film: one of `ANSWERS`, the distance (1 = the limit), and why ("" when inside)."""

    answer: str
    distance: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Drift:
    """Whether a batch of films comes from the world of the training films.

    `flagged` of `n` films are not inside; `expected` is the share promised by calibration; `low` is the lower end of
    the exact one-sided 95 % interval of the share (Clopper and Pearson 1934), 0 where no more are flagged than
    promised. `alarm` when even that is more than twice the promise.
    """

    n: int
    flagged: int
    expected: float
    low: float
    alarm: bool

    def sentence(self) -> str:
        """What to tell a person; "" when there is nothing to tell."""
        if not self.alarm:
            return ""
        return (
            f"{self.flagged} of {self.n} films are unlike the training films ({self.expected:.0%} would be expected): "
            "these films come from elsewhere, and the measured accuracy does not hold for them. Judge the model on "
            "local films with known answers before believing it."
        )


def fit(
    training: npt.NDArray[Any],
    calibration: npt.NDArray[Any],
    drawn: npt.NDArray[Any],
    *,
    false_flag_rate: float = FALSE_FLAG_RATE,
) -> Gate:
    """Learn a gate.

    Args:
        training: pooled features (n, F) of training films.
        calibration: the same of validation films, whose patients are not among the training films.
        drawn: the same of `drawn_pictures`.
        false_flag_rate: share of films like the training films that may be flagged, 0–1.
    """
    unit = _unit(training)
    mean = unit.mean(axis=0)
    count = min(MOST_DIRECTIONS, max(1, min(unit.shape) // 4))
    directions = np.linalg.svd(unit - mean, full_matrices=False)[2][:count]
    residuals = _residual(calibration, mean, directions)
    limit = _limit(residuals, false_flag_rate)
    nearest_drawn = float(np.quantile(_residual(drawn, mean, directions) / limit, 0.05))
    far = 1 + NOT_RADIOGRAPH_SHARE * (nearest_drawn - 1) if nearest_drawn > 1 else float("inf")
    return Gate(mean, directions, limit, far, false_flag_rate, len(residuals))


def drift(gate: Gate, counts: Mapping[str, int]) -> Drift | None:
    """Whether a batch comes from elsewhere, of which `counts` says how many films got each answer.

    None with fewer than `MINIMUM_BATCH` films that got one of `ANSWERS`.
    """
    judged = sum(counts.get(answer, 0) for answer in ANSWERS)
    if judged < MINIMUM_BATCH:
        return None
    flagged = judged - counts.get(INSIDE, 0)
    # No share of flags up to the promised one can be an alarm; SciPy would double the start-up time of `predict`.
    if flagged <= gate.false_flag_rate * judged:
        return Drift(judged, flagged, gate.false_flag_rate, 0.0, False)
    from scipy import special

    low = float(special.betaincinv(flagged, judged - flagged + 1, 0.05))
    return Drift(judged, flagged, gate.false_flag_rate, low, low > 2 * gate.false_flag_rate)


def drawn_pictures(height: int, width: int, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Pictures that are no radiographs, uint8 (60, height, width): noise of all colours, shapes, stripes, ramps."""
    random = np.random.default_rng(seed)
    makers = (_noise, _shapes, _stripes)
    pictures = [makers[number % len(makers)](random, height, width) for number in range(60)]
    return np.stack([_stretched(picture) for picture in pictures])


def _noise(random: np.random.Generator, height: int, width: int) -> Floats:
    """Noise whose power falls with frequency: white, pink or like clouds."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(random.normal(size=(height, width))) / frequency ** random.uniform(0, 2.2)
    return np.asarray(np.fft.ifft2(spectrum).real)


def _shapes(random: np.random.Generator, height: int, width: int) -> Floats:
    picture = np.full((height, width), float(random.integers(2)))
    rows, columns = np.mgrid[:height, :width]
    for _ in range(int(random.integers(3, 30))):
        y, x = random.uniform(0, height), random.uniform(0, width)
        tall, wide = random.uniform(2, height / 3), random.uniform(2, width / 3)
        inside = np.maximum(np.abs(rows - y) / tall, np.abs(columns - x) / wide) < 1
        if random.integers(2):
            inside = ((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2 < 1
        picture[inside] = random.uniform()
    return np.asarray(picture, dtype=np.float64)


def _stripes(random: np.random.Generator, height: int, width: int) -> Floats:
    angle, period = random.uniform(0, np.pi), random.uniform(4, 2 * max(height, width))
    rows, columns = np.mgrid[:height, :width]
    wave = np.sin(2 * np.pi * (np.cos(angle) * columns + np.sin(angle) * rows) / period)
    return np.asarray(np.sign(wave) if random.integers(2) else wave)


def _stretched(picture: Floats) -> npt.NDArray[np.uint8]:
    low, high = picture.min(), picture.max()
    return np.asarray(np.rint(255 * (picture - low) / max(high - low, 1e-9)), dtype=np.uint8)


def _limit(residuals: Floats, false_flag_rate: float) -> float:
    # The conformal rank: a new film of the same world exceeds it with at most this probability.
    rank = int(np.ceil((len(residuals) + 1) * (1 - false_flag_rate)))
    return max(float(np.sort(residuals)[min(rank, len(residuals)) - 1]), float(np.finfo(np.float64).tiny))


def _unit(features: npt.NDArray[Any]) -> Floats:
    values = np.asarray(features, dtype=np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _residual(features: npt.NDArray[Any], mean: Floats, directions: Floats) -> Floats:
    offset = _unit(features) - mean
    inside = offset @ directions.T
    return np.asarray(np.maximum((offset**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0))
