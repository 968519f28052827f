"""A threshold certified at 95/95 keeps its promise: by the published counts and by simulation."""

import numpy as np
import pytest

from cxray.errors import DataError
from cxray.evaluate.thresholds import choose


def test_certified_thresholds_fail_in_at_most_five_of_a_hundred_tables():
    rng = np.random.default_rng(0)
    failures = 0
    for _ in range(400):
        positive = rng.normal(1.5, 1, 124)
        scores = 1 / (1 + np.exp(-np.concatenate([positive, rng.normal(0, 1, 100)])))
        chosen = choose("guaranteed_sensitivity:0.95", scores, np.arange(224) < 124, "validation", "0" * 64)
        cut = np.log(chosen.value / (1 - chosen.value))
        # The true sensitivity at this cut is the normal tail above it.
        failures += cut > 1.5 - 1.6448536269514722
    assert failures <= 30


def test_58_positives_without_a_miss_prove_nothing():
    with pytest.raises(DataError, match="even when none is missed"):
        choose("guaranteed_sensitivity:0.95", np.linspace(0.01, 0.99, 100), np.arange(100) >= 42, "validation", "x")
