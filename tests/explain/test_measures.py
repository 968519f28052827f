"""Means, intervals and bars, with edge values and one either side."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cxray.explain.measures import MapTest, Measure, null_of

VALUES = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10])


def test_a_mean_has_a_t_interval() -> None:
    found = MapTest("a", "A", "m", at_least=2.0).mean(VALUES)
    low, high = stats.t.interval(0.95, 9, VALUES.mean(), stats.sem(VALUES))
    assert (found.value, found.low, found.high) == pytest.approx((5.5, low, high))
    assert found.passed is True
    assert found.films == 10


def test_fewer_than_ten_films_are_withheld() -> None:
    found = MapTest("a", "A", "m", at_least=2.0).mean(VALUES[:9])
    assert found.value is None
    assert found.passed is None
    assert found.withheld == "only 9 films with a value; 10 are needed"
    assert MapTest("a", "A", "m").rate(np.ones(9, bool)).withheld == "only 9 films; 10 are needed"
    assert MapTest("a", "A", "m").ratio(VALUES[:9], VALUES[:9]).withheld.startswith("only 9 pairs")


def test_films_without_a_value_are_left_out_and_counted() -> None:
    found = MapTest("a", "A", "m").mean(np.append(VALUES, np.nan))
    assert found.value == pytest.approx(5.5)
    assert found.method == "m; 1 films without a value"
    assert found.passed is None  # nothing was asked


@pytest.mark.parametrize(
    ("test", "low", "high", "passed"),
    [
        (MapTest("a", "A", "m", at_least=0.5), 0.5, 1, True),
        (MapTest("a", "A", "m", at_least=0.5), 0.499, 1, False),
        (MapTest("a", "A", "m", at_least=0.0, above=True), 0.0, 1, False),
        (MapTest("a", "A", "m", at_least=0.0, above=True), 1e-9, 1, True),
        (MapTest("a", "A", "m", at_most=0.5), 0, 0.5, True),
        (MapTest("a", "A", "m", at_most=0.5), 0, 0.501, False),
        (MapTest("a", "A", "m", alarm=0.1), 0.1, 0.9, True),
        (MapTest("a", "A", "m", alarm=0.1), 0.101, 0.9, False),
        (MapTest("a", "A", "m"), 0, 1, None),
    ],
)
def test_bars(test: MapTest, low: float, high: float, passed: bool | None) -> None:
    assert test.judge(low, high) is passed


def test_a_ratio_of_sums() -> None:
    found = MapTest("a", "A", "m").ratio(VALUES / 4, VALUES)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    assert "does not tell the classes" in MapTest("a", "A", "m").ratio(VALUES, -VALUES).withheld


def test_a_rate_has_a_wilson_interval() -> None:
    found = MapTest("a", "A", "m").rate(np.arange(20) < 19)
    assert found.value == pytest.approx(0.95)
    assert (found.low, found.high) == pytest.approx((0.764, 0.991), abs=0.001)


def test_the_null_of_a_mean_is_narrower_than_that_of_one_film() -> None:
    nulls = np.random.default_rng(0).normal(size=(400, 20))
    found = null_of(nulls)
    assert abs(found.mean) < 0.02
    assert found.high - found.low == pytest.approx(4 / np.sqrt(400), rel=0.2)


def test_a_measure_survives_the_round_trip() -> None:
    found = MapTest("a", "A", "m", at_least=0.0).mean(VALUES, np.zeros((10, 3)))
    assert Measure.from_dict(found.to_dict()) == found
    bare = MapTest("a", "A", "m").without(3, "no")
    assert Measure.from_dict(bare.to_dict()) == bare
