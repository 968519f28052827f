"""Proposals that no turn and no mirror hides, and the way back to how a film lay."""

import numpy as np
import pytest
from PIL import Image

from cxray.data.audit.exposures import laid_straight
from cxray.data.audit.scan import Scan
from cxray.data.audit.turns import best_turns, circles_of, near_pairs


def turned(film: np.ndarray, degrees: float, *, is_mirrored: bool = False) -> np.ndarray:
    picture = Image.fromarray(film[:, ::-1] if is_mirrored else film)
    return np.asarray(picture.rotate(degrees, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("degrees", [0, 1, -3, 7, 45, 90, -90, 133, 180])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_turned_film_is_proposed_and_its_turn_is_known(clean_scan: Scan, degrees: float, is_mirrored: bool):
    films = clean_scan.thumbnails
    planted = np.concatenate([films, turned(films[5], degrees, is_mirrored=is_mirrored)[None]])
    circles = circles_of(planted)
    first, second = near_pairs(circles)
    assert (5, len(films)) in zip(first.tolist(), second.tolist(), strict=True)
    turns = best_turns(circles, np.array([5]), np.array([len(films)]))
    assert turns.correlation[0] > 0.98
    assert bool(turns.is_mirrored[0]) == is_mirrored
    # The copy was mirrored first, so laying it straight turns it the other way.
    wanted = degrees if is_mirrored else -degrees
    assert abs((turns.degrees[0] - wanted + 180) % 360 - 180) < 1


@pytest.mark.parametrize(("degrees", "is_mirrored"), [(0, True), (90, False), (90, True), (-17, False), (203, True)])
def test_laying_straight_undoes_mirror_and_turn(clean_scan: Scan, degrees: float, is_mirrored: bool):
    film = np.asarray(Image.fromarray(clean_scan.thumbnails[0]).resize((128, 128), Image.Resampling.BICUBIC))
    copy = turned(film, degrees, is_mirrored=is_mirrored)
    straight = laid_straight(copy, degrees if is_mirrored else -degrees, is_mirrored=is_mirrored)
    disc = np.hypot(*np.mgrid[-63.5:64, -63.5:64]) < 55
    assert np.corrcoef(straight[disc].astype(float), film[disc])[0, 1] > 0.99


def test_a_film_of_four_to_three_is_turned_as_it_was_stored():
    stored = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32)).astype(np.uint8)).resize((400, 300))
    square = np.asarray(stored.resize((128, 128)))
    copy = np.asarray(stored.rotate(10, Image.Resampling.BICUBIC).resize((128, 128)))
    right = laid_straight(copy, -10, is_mirrored=False, width_over_height=4 / 3)[30:98, 30:98]
    wrong = laid_straight(copy, -10, is_mirrored=False)[30:98, 30:98]
    middle = square[30:98, 30:98].astype(float).ravel()
    assert np.corrcoef(right.ravel(), middle)[0, 1] > 0.97
    assert np.corrcoef(wrong.ravel(), middle)[0, 1] < 0.9


def test_few_films_or_empty_films_are_no_obstacle():
    blank = np.zeros((3, 32, 32), dtype=np.uint8)
    assert [len(ends) for ends in near_pairs(circles_of(blank[:1]))] == [0, 0]
    circles = circles_of(blank)
    first, second = near_pairs(circles)
    assert np.isfinite(best_turns(circles, first, second).correlation).all()
    assert len(best_turns(circles, first[:0], second[:0]).degrees) == 0
    assert circles_of(blank[:0]).shape[0] == 0


def test_a_thousand_equal_films_are_not_half_a_million_pairs(clean_scan: Scan):
    films = np.repeat(clean_scan.thumbnails[:1], 1000, axis=0)
    joined = np.concatenate([clean_scan.thumbnails, films])
    first, _ = near_pairs(circles_of(joined))
    assert 999 <= len(first) < 40 * 1000


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_quarter_turns_of_a_film_of_four_to_three_are_exact(degrees: int):
    grain = np.random.default_rng(1).integers(0, 256, (12, 16)).astype(np.uint8)
    stored = Image.fromarray(grain).resize((400, 300), Image.Resampling.BICUBIC)
    films = [np.asarray(film.resize((32, 32))) for film in (stored, stored.rotate(degrees, expand=True))]
    turns = best_turns(circles_of(np.stack(films)), np.array([0]), np.array([1]))
    assert turns.correlation[0] > 0.99 and not turns.is_mirrored[0]
    assert abs((turns.degrees[0] + degrees + 180) % 360 - 180) < 0.5
