"""Intervals stay inside their range and equal scipy's where scipy has them."""

import numpy as np
import pytest
from scipy.stats import binomtest

from cxray.evaluate import clusters, intervals


@pytest.mark.parametrize(("hits", "films"), [(0, 20), (1, 29), (19, 38), (38, 38), (999, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_and_exact_equal_scipy(hits, films, level):
    for ours, method in ((intervals.wilson, "wilson"), (intervals.exact, "exact")):
        theirs = binomtest(hits, films).proportion_ci(level, method)
        assert ours(hits, films, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_at_the_boundary_neither_leaves_the_range_nor_collapses():
    low, high = intervals.wilson(38, 38)
    assert high == 1.0
    assert low < 0.95
    low, high = intervals.wilson(0, 1)
    assert low == 0.0
    assert high > 0.5


def test_proportion_with_one_film_a_patient_is_wilson():
    hits = np.arange(50) < 41
    found = intervals.proportion(hits, np.arange(50))
    assert (found.low, found.high) == intervals.wilson(41, 50)
    assert found.method == "Wilson"


def test_repeating_every_film_does_not_narrow_the_interval():
    hits = np.arange(50) < 41
    once = intervals.proportion(hits, np.arange(50))
    twice = intervals.proportion(np.tile(hits, 2), np.tile(np.arange(50), 2))
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    naive = intervals.wilson(82, 100)
    assert twice.high - twice.low > naive[1] - naive[0]


def test_films_that_all_agree_count_once_a_patient():
    patient = np.repeat(np.arange(10), 5)
    found = intervals.proportion(np.ones(50, dtype=bool), patient)
    assert (found.low, found.high) == intervals.wilson(10, 10)


def test_design_effect_never_rewards_clustering():
    hits = np.tile([0.0, 1.0], 25)
    assert clusters.design_effect(hits, np.repeat(np.arange(25), 2)) == 1.0


def test_unknown_patients_stay_apart():
    names = np.array(["a", "", "a", ""], dtype=object)
    assert clusters.codes(names, 4).tolist() == [0, 1, 0, 2]
    assert clusters.count(clusters.codes(None, 3)) == 3


def test_independent_difference_is_newcombes_method_ten():
    # 56/70 against 48/80: Newcombe 1998, Statistics in Medicine 17:873, table II, case (a), method 10.
    first = intervals.proportion(np.arange(70) < 56, np.arange(70))
    second = intervals.proportion(np.arange(80) < 48, np.arange(80))
    found = intervals.independent_difference(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_empty_group_is_withheld():
    assert "No film" in intervals.proportion(np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64)).withheld


def test_equal_contributions_leave_no_interval_of_no_width():
    losses = np.full(60, np.log(2)) + np.where(np.arange(60) % 2, 1e-16, 0)
    found, p = intervals.sandwich(float(losses.mean()), (losses - losses.mean()) / 60, np.arange(60))
    assert (found.low, p) == (None, 1.0)
    assert "no interval" in found.assumptions[0]
