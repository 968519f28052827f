"""Measures of single films, each against a hand-made case and its opposite."""

from __future__ import annotations

import numpy as np
import pytest

from cxray.explain import faithfulness
from cxray.explain.attribution import Attribution, explain_films
from cxray.explain.cover import smooth_cover
from cxray.explain.opened import OpenedModel
from tests.explain.graphs import disc_film


def one_hot(row: int, column: int, side: int = 7) -> np.ndarray:
    values = np.zeros((side, side), np.float32)
    values[row, column] = 1
    return values


def test_the_true_map_wins_deletion_and_insertion(model: OpenedModel) -> None:
    film = disc_film(2, 4)
    right, wrong = faithfulness.deletion_insertion(model, film, [one_hot(2, 4), one_hot(6, 0)], 1)
    assert right.deletion < wrong.deletion
    assert right.insertion > wrong.insertion
    # Once the disc is covered only the bias is left.
    assert right.deletion == pytest.approx(-1, abs=0.05)


def test_a_null_map_has_the_same_values_in_other_places() -> None:
    values = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    rng = np.random.default_rng(0)
    maps = [faithfulness.null_map(values, rng) for _ in range(20)]
    for moved in maps:
        assert moved.shape == values.shape
        np.testing.assert_array_equal(np.sort(moved.ravel()), np.sort(values.ravel()))
    assert sum(np.array_equal(moved, values) for moved in maps) <= 2


def test_similarity_of_equal_reversed_and_flat_maps() -> None:
    values = np.arange(49, dtype=np.float32).reshape(7, 7)
    assert faithfulness.similarity(values, 2 * values + 1) == pytest.approx(1)
    assert faithfulness.similarity(values, -values) == pytest.approx(-1)
    assert np.isnan(faithfulness.similarity(values, np.zeros((7, 7), np.float32)))


def test_a_map_that_follows_the_film_is_repeatable_and_one_that_stays_is_not(model: OpenedModel) -> None:
    rng = np.random.default_rng(0)
    film = np.repeat(np.repeat(rng.integers(0, 256, (14, 14)), 16, 0), 16, 1).astype(np.uint8)

    def follows(films: np.ndarray) -> list[np.ndarray]:
        return [one.astype(np.float32) for one in films]

    def noise(films: np.ndarray) -> list[np.ndarray]:
        return [rng.random((224, 224)).astype(np.float32) for _ in films]

    assert faithfulness.shift_similarity(film, follows) == pytest.approx(1, abs=1e-6)
    assert abs(faithfulness.shift_similarity(film, noise)) < 0.05
    maps = faithfulness.shift_similarity(
        disc_film(), lambda films: [one.values for one in explain_films(model, films, 1)]
    )
    assert maps > 0.3


def test_share_of_evidence_inside() -> None:
    inside = np.zeros((14, 14), bool)
    inside[:7] = True
    assert faithfulness.share_inside(np.ones((7, 7), np.float32), inside) == pytest.approx(0.5)
    assert np.isnan(faithfulness.share_inside(-np.ones((7, 7), np.float32), inside))  # nothing speaks for the class
    assert faithfulness.share_inside(one_hot(0, 3), inside) == pytest.approx(1)


def test_the_pointing_game_and_its_tolerance() -> None:
    opacity = np.zeros((100, 100), bool)
    opacity[40:60, 40:60] = True
    peak = np.zeros((100, 100), np.float32)
    peak[50, 50] = 1
    assert faithfulness.points_at(peak, opacity)
    for distance, near in ((3, True), (4, False)):  # 3 % of 100 pixels, and one more
        beside = np.zeros((100, 100), np.float32)
        beside[50, 59 + distance] = 1
        assert not faithfulness.points_at(beside, opacity)
        assert faithfulness.points_at(beside, opacity, tolerance=True) is near


def test_flat_maps_and_empty_masks_never_hit() -> None:
    everything = np.ones((56, 56), bool)
    assert not faithfulness.points_at(np.zeros((7, 7), np.float32), everything)
    faint = Attribution(1e-5 * one_hot(1, 1), "occlusion", "A", 0.5, 0.0, float("nan"))
    assert faint.is_flat
    assert not faithfulness.points_at(faint, everything)
    assert not faithfulness.points_at(one_hot(1, 1), ~everything, tolerance=True)


def test_overlap_by_hand() -> None:
    opacity = np.zeros((10, 10), bool)
    opacity[:2, :5] = True  # ten pixels
    values = np.zeros((10, 10), np.float32)
    values[:2, :5] = 1
    assert faithfulness.overlap(values, opacity) == pytest.approx(1)
    shifted = np.roll(values, 1, axis=0)  # five of ten shared: 5 / 15
    assert faithfulness.overlap(shifted, opacity) == pytest.approx(1 / 3)
    assert np.isnan(faithfulness.overlap(values, np.zeros((10, 10), bool)))


def test_covering_continues_the_surroundings() -> None:
    film = np.tile(np.linspace(0, 200, 64), (64, 1)).astype(np.uint8)
    cover = np.zeros((64, 64), bool)
    cover[20:30, 20:30] = True
    covered = smooth_cover(film, cover)
    np.testing.assert_array_equal(covered[~cover], film[~cover])
    assert np.abs(covered[cover] - film[cover]).max() < 25
    spot = film.copy()
    spot[20:30, 20:30] = 255
    np.testing.assert_allclose(smooth_cover(spot, cover)[cover], covered[cover])  # what is covered says nothing


def test_covering_nothing_and_everything() -> None:
    film = disc_film()
    np.testing.assert_array_equal(smooth_cover(film, np.zeros(film.shape, bool)), film)
    np.testing.assert_allclose(smooth_cover(film, np.ones(film.shape, bool)), film.mean(), rtol=1e-6)
