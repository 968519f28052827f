"""Luck or progress? The spread over training seeds, and the chance that one recipe beats another.

Values are one measure of one trained model each, larger is better. Sources: Bouthillier et al. 2021 (MLSys, accounting
for variance); Nadeau & Bengio 2003 (Machine Learning 52:239, corrected resampled t test).
"""

from __future__ import annotations

import math

import numpy as np

from cxray.evaluate.record import LEVEL, Estimate, Floats, estimate, withhold
from cxray.evaluate.resample import resampled

_DRAWS = 2000


def seed_spread(values: Floats, level: float = LEVEL, *, reach: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """The mean over seeds, with limits for the value that one *new* seed would give (a prediction interval).

    The limits stay inside `reach`, what the measure can be; with few seeds the t interval is wide enough to leave it.
    """
    from scipy.special import stdtrit

    if values.size < 3:
        return withhold(f"The spread over seeds needs at least 3 trained models, got {values.size}.")
    deviation = float(values.std(ddof=1))
    if deviation == 0:
        return Estimate(float(values[0]), method="mean over seeds").noting(
            "All seeds give the same value: no interval."
        )
    half = float(stdtrit(values.size - 1, 0.5 + level / 2)) * deviation * math.sqrt(1 + 1 / values.size)
    low, high = max(reach[0], values.mean() - half), min(reach[1], values.mean() + half)
    found = estimate(values.mean(), low, high, "t, for one new seed")
    return found.noting(f"Standard deviation over {values.size} seeds: {deviation:.4g}.")


def chance_better(first: Floats, second: Floats, *, level: float = LEVEL, seed: int = 0) -> Estimate:
    """The chance that a new model of the first recipe beats one of the second; ties count half."""
    if min(first.size, second.size) < 3:
        return withhold("The chance to be better needs at least 3 trained models of each recipe.")
    rng = np.random.default_rng(seed)
    draws = np.array([_wins(rng.choice(first, first.size), rng.choice(second, second.size)) for _ in range(_DRAWS)])
    value = _wins(first, second)
    return resampled(value, draws, level, what="bootstrap over seeds")


def corrected_t(differences: Floats, test_share: float) -> tuple[float, float]:
    """Nadeau and Bengio's t and p value for `differences` over repeated splits; `test_share` = test over training
    films.
    """
    from scipy.special import stdtr

    runs = differences.size
    error = math.sqrt(float(differences.var(ddof=1)) * (1 / runs + test_share))
    if error == 0:
        return 0.0, 1.0
    t = float(differences.mean()) / error
    return t, float(2 * stdtr(runs - 1, -abs(t)))


def _wins(first: Floats, second: Floats) -> float:
    gap = first[:, None] - second[None, :]
    return float((gap > 0).mean() + (gap == 0).mean() / 2)
