"""Calibration as plain numbers: fit temperature, Platt or isotonic maps on validation logits and apply them
anywhere.

Own implementation, because a Keras or ONNX model is not a scikit-learn estimator and multi-label heads need
a map per finding; tests compare it with scikit-learn. Logits are any real numbers, probabilities lie in 0–1.
Pure numpy (scipy only for the isotonic fit), so a bundle may use it anywhere. Fit on validation films, never
on test films.

Sources: Guo et al. 2017 (temperature); Platt 1999; Zadrozny & Elkan 2002 (isotonic).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError
from cxray.evaluate.record import Flags, Floats
from cxray.evaluate.thresholds import FLOAT32_RESOLUTION

# A temperature outside this range only says that the films are separated perfectly, or at random.
TEMPERATURE_RANGE = (0.05, 20.0)
KINDS = ("identity", "temperature", "platt", "isotonic")


def sigmoid(logits: npt.ArrayLike) -> Floats:
    """1 / (1 + e^-x), elementwise, without overflow."""
    values = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


def softmax(logits: npt.ArrayLike) -> Floats:
    """Softmax over the last axis of logits (…, classes), without overflow: shares that add up to 1."""
    values = np.asarray(logits, dtype=np.float64)
    powers: Floats = np.exp(values - values.max(axis=-1, keepdims=True))
    total: Floats = powers.sum(axis=-1, keepdims=True)
    return np.divide(powers, total)


def logit(probabilities: npt.ArrayLike) -> Floats:
    """log(p / (1-p)); probabilities of exactly 0 or 1 are moved inwards by 2^-24, the resolution of float32."""
    clipped = np.clip(np.asarray(probabilities, np.float64), FLOAT32_RESOLUTION, 1 - FLOAT32_RESOLUTION)
    return np.log(clipped) - np.log1p(-clipped)


def fit_temperature(logits: Floats, targets: npt.NDArray[Any]) -> float:
    """The temperature that minimises the log loss of softmax(logits / temperature).

    `logits` has shape (films, classes), `targets` integer class numbers (films,). The result lies in
    `TEMPERATURE_RANGE`; its ends mean perfectly separated or random logits.

    Raises:
        DataError: shapes that do not fit, non-finite logits, no film, or a class number outside the table.
    """
    logits = np.asarray(logits, dtype=np.float64)
    targets = np.asarray(targets)
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or targets.size == 0:
        raise DataError(f"Expected logits (films, classes) and one target a film, got {logits.shape}, {targets.shape}.")
    if not np.isfinite(logits).all() or targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise DataError(f"Logits must be finite and targets lie in 0 to {logits.shape[1] - 1}.")
    own = logits[np.arange(targets.size), targets.astype(np.int64)]

    def slope_of_loss(inverse: float) -> float:
        expected = (softmax(logits * inverse) * logits).sum(axis=1)
        return float((expected - own).sum())

    return _inverse_root(slope_of_loss)


def fit_temperature_sigmoid(logits: Floats, is_positive: npt.NDArray[Any]) -> float:
    """The temperature that minimises the log loss of sigmoid(logits / temperature).

    `logits` and `is_positive` (1, 0 or NaN for unknown) share any shape, so one temperature can serve all
    findings.

    Raises:
        DataError: shapes differ, non-finite logits, or no film with a known truth.
    """
    values, truth = _known(logits, is_positive)

    def slope_of_loss(inverse: float) -> float:
        return float((values * (sigmoid(values * inverse) - truth)).sum())

    return _inverse_root(slope_of_loss)


def fit_platt(logits: Floats, is_positive: npt.NDArray[Any]) -> tuple[float, float]:
    """Slope and intercept of sigmoid(slope × logit + intercept) by maximum likelihood.

    With perfectly separated films the likelihood has no maximum, so Platt's smoothed targets
    (n₊+1)/(n₊+2) and 1/(n₋+2) are used then; see Platt 1999, section 2.2.

    Raises:
        DataError: shapes differ, non-finite logits, or one class only.
    """
    values, truth = _known(logits, is_positive)
    positives = int(truth.sum())
    if positives in (0, truth.size):
        raise DataError("Platt scaling needs films of both classes, but only one is present.")
    design = np.column_stack([values, np.ones_like(values)])
    fitted = fit_logistic(design, truth)
    if fitted is None:
        smooth = np.where(truth > 0, (positives + 1) / (positives + 2), 1 / (truth.size - positives + 2))
        fitted = fit_logistic(design, smooth)
    if fitted is None:
        raise DataError("Platt scaling failed: all logits are equal.", "Check the model's output.")
    return float(fitted[0]), float(fitted[1])


def fit_isotonic(logits: Floats, is_positive: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """The rising step function from logit to probability closest to the outcomes, as knots (logits,
    probabilities).

    Between knots it is interpolated linearly, beyond them it is flat.

    Raises:
        DataError: shapes differ, non-finite logits, or no film with a known truth.
    """
    from scipy.optimize import isotonic_regression

    values, truth = _known(logits, is_positive)
    knots, place = np.unique(values, return_inverse=True)
    films = np.bincount(place)
    fitted = isotonic_regression(np.bincount(place, weights=truth) / films, weights=films).x
    steps = np.diff(fitted) != 0
    # Only the two ends of each flat piece are needed to draw it.
    keep = np.concatenate([[True], steps]) | np.concatenate([steps, [True]])
    return knots[keep], fitted[keep]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A fitted map from logits to probabilities, as plain numbers.

    `kind` is one of `KINDS`. `parameters` are: none; [temperature]; [slope, intercept]; or the knots' logits
    followed by their probabilities. `table_sha256` names the validation table it was fitted on.
    """

    kind: str = "identity"
    parameters: tuple[float, ...] = ()
    table_sha256: str = ""

    def __post_init__(self) -> None:
        wanted = {"identity": 0, "temperature": 1, "platt": 2}.get(self.kind, len(self.parameters))
        if self.kind not in KINDS or len(self.parameters) != wanted or (self.kind == "isotonic" and wanted % 2):
            raise DataError(
                f"A calibration of kind {self.kind!r} cannot have {len(self.parameters)} parameters.",
                f"The kinds are: {', '.join(KINDS)}.",
            )

    def apply(self, logits: npt.ArrayLike, *, exclusive: bool) -> Floats:
        """Probabilities of the same shape as `logits`.

        `exclusive` applies softmax over the last axis (identity and temperature only); otherwise every logit
        stands for one finding.

        Raises:
            DataError: `exclusive` with a map that is made for one finding.
        """
        values = np.asarray(logits, dtype=np.float64)
        if self.kind in ("identity", "temperature"):
            scaled = values / self.parameters[0] if self.parameters else values
            return softmax(scaled) if exclusive else sigmoid(scaled)
        if exclusive:
            raise DataError(f"A {self.kind} map calibrates one finding, not exclusive classes.", "Use temperature.")
        if self.kind == "platt":
            return sigmoid(self.parameters[0] * values + self.parameters[1])
        half = len(self.parameters) // 2
        return np.interp(values, self.parameters[:half], self.parameters[half:])

    def to_dict(self) -> dict[str, Any]:
        """The map as JSON takes it."""
        return {**dataclasses.asdict(self), "parameters": list(self.parameters)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`."""
        numbers = tuple(float(number) for number in value.get("parameters", ()))
        return cls(str(value.get("kind", "identity")), numbers, str(value.get("table_sha256", "")))


def fit_logistic(
    design: Floats, truth: Floats, *, offset: Floats | None = None, weights: Floats | None = None
) -> Floats | None:
    """Maximum-likelihood coefficients (columns,) of a logistic regression by Newton steps, halved when they
    overshoot.

    `design` has shape (films, columns), `truth` lies in 0–1. Returns None when no maximum exists (perfect
    separation) or the columns are linearly dependent.
    """
    shift = np.zeros(len(truth)) if offset is None else offset
    mass = np.ones(len(truth)) if weights is None else weights
    beta = np.zeros(design.shape[1])
    loss = _logistic_loss(design @ beta + shift, truth, mass)
    for _ in range(100):
        fitted = sigmoid(design @ beta + shift)
        gradient = design.T @ (mass * (truth - fitted))
        hessian = (design * (mass * fitted * (1 - fitted))[:, None]).T @ design
        if np.linalg.cond(hessian) > 1e14:
            return None
        step = np.linalg.solve(hessian, gradient)
        while (trial := _logistic_loss(design @ (beta + step) + shift, truth, mass)) > loss + 1e-12 * abs(loss):
            step = step / 2
            if np.abs(step).max() < 1e-14:
                return beta
        beta, loss = beta + step, trial
        if np.abs(step).max() < 1e-10 * (1 + np.abs(beta).max()):
            return None if loss < 1e-6 * mass.sum() else beta
    return None


def _logistic_loss(logits: Floats, truth: Floats, mass: Floats) -> float:
    return float((mass * (np.logaddexp(0, logits) - truth * logits)).sum())


def _inverse_root(slope_of_loss: Any) -> float:
    # The loss is convex in 1/temperature, so its slope rises and one bisection on the log scale finds the
    # minimum.
    low, high = (float(np.log(1 / end)) for end in reversed(TEMPERATURE_RANGE))
    if slope_of_loss(float(np.exp(low))) >= 0:
        return TEMPERATURE_RANGE[1]
    if slope_of_loss(float(np.exp(high))) <= 0:
        return TEMPERATURE_RANGE[0]
    while high - low > 1e-13:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if slope_of_loss(float(np.exp(middle))) < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def _known(logits: npt.ArrayLike, is_positive: npt.ArrayLike) -> tuple[Floats, Floats]:
    values = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(is_positive, dtype=np.float64)
    if values.shape != truth.shape:
        raise DataError(f"Expected one truth for each logit, got {truth.shape} for {values.shape}.")
    known: Flags = ~np.isnan(truth)
    values, truth = values[known], truth[known]
    if truth.size == 0 or not np.isfinite(values).all():
        raise DataError("Calibration needs films with a known truth and finite logits.")
    return values, truth
