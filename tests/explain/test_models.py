"""Randomisation, regions, changes of acquisition and lung fields, on networks whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.data.phantom import PhantomPlan, draw_film
from cxray.explain.acquisition import CHANGES, acquisition_effects
from cxray.explain.attribution import explain_films
from cxray.explain.lungs import dice, lung_field
from cxray.explain.opened import OpenedModel
from cxray.explain.randomise import with_random_head, with_random_weights
from cxray.explain.regions import cover_lungs, frame, swap_frames
from tests.explain.graphs import disc_film, disc_model


def test_a_shuffled_head_is_another_head_with_the_same_weights(model: OpenedModel) -> None:
    assert model.head is not None
    for seed in range(8):
        shuffled = with_random_head(model, np.random.default_rng(seed)).head
        assert shuffled is not None
        np.testing.assert_allclose(np.sort(shuffled.weights, axis=0), np.sort(model.head.weights, axis=0))
        if not np.allclose(shuffled.weights, model.head.weights):
            break
    else:
        pytest.fail("eight shuffles never changed the head")


def test_shuffled_weights_change_the_answers_and_leave_the_file(tmp_path: Path) -> None:
    model = disc_model(tmp_path, weights=[[1.0, 7.0], [-3.0, 60.0]])
    before = model.graph.read_bytes()
    film = disc_film()[np.newaxis]
    answers = [with_random_weights(model, 1.0, np.random.default_rng(seed)).logits(film) for seed in range(6)]
    assert any(not np.allclose(answer, model.logits(film)) for answer in answers)
    shuffled = with_random_weights(model, 1.0, np.random.default_rng(0))
    films = np.concatenate([film] * 9)  # more than a batch, and after the first answer
    np.testing.assert_allclose(shuffled.logits(films), np.repeat(shuffled.logits(film), 9, axis=0), atol=1e-5)
    assert model.graph.read_bytes() == before


def test_a_model_of_the_frame_is_caught_by_exchanging_frames(model: OpenedModel) -> None:
    bright, dark = disc_film(0, 0), disc_film(0, 0, bright=40)
    swap = swap_frames(model, np.stack([bright] * 3), np.stack([dark] * 3), 1)
    assert swap.moved.sum() / swap.gap.sum() > 0.4  # most of the bright cell lies in the outer 12 %
    inner = swap_frames(model, disc_film(3, 3)[np.newaxis], disc_film(3, 3, bright=40)[np.newaxis], 1)
    assert abs(inner.moved.sum() / inner.gap.sum()) < 0.01


def test_the_frame_is_the_outermost_twelve_percent() -> None:
    outer = frame((100, 50))
    assert outer[:6].all()
    assert outer[:, -6:].all()
    assert not outer[6:-6, 6:-6].any()


def test_lung_fields_of_synthetic_films_are_found() -> None:
    films = [
        draw_film(PhantomPlan(size_px=160), patient, film_index=0, seed=21, is_diseased=patient % 2 == 1)
        for patient in range(12)
    ]
    found = [dice(lung_field(film.as_bytes()), film.lung_field) for film in films]
    assert np.mean(found) > 0.85
    assert min(found) > 0.7
    covered = cover_lungs(films[0].as_bytes(), films[0].lung_field)
    lungs, rest = covered[films[0].lung_field], films[0].as_bytes()[films[0].lung_field]
    assert lungs.mean() > rest.mean() + 20  # dark lungs become as bright as what surrounds them


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_film_has_an_answer(grey: int) -> None:
    assert lung_field(np.full((64, 48), grey, np.uint8)).shape == (64, 48)


def test_dice_by_hand() -> None:
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert np.isnan(dice(first, second))
    first[0, :2] = second[0, 1:3] = True
    assert dice(first, second) == pytest.approx(0.5)


def test_every_change_of_acquisition_keeps_the_frame_and_the_range() -> None:
    film = draw_film(PhantomPlan(size_px=96), 1, film_index=0, seed=3, is_diseased=True).as_bytes()
    for name, _, change in CHANGES:
        changed = change(film)
        assert changed.shape == film.shape, name
        assert changed.dtype == np.float32, name
        assert changed.min() >= -1e-3, name
        assert changed.max() <= 255 + 1e-3, name
        assert np.abs(changed - film).max() > 1, name


def test_the_change_that_matters_most_comes_first(model: OpenedModel) -> None:
    effects = acquisition_effects(model, disc_film(3, 3), 1)
    assert len(effects) == len(CHANGES)
    sizes = [abs(effect.log_odds_change) for effect in effects]
    assert sizes == sorted(sizes, reverse=True)
    assert effects[0].name == "white shutters at the edge"  # a detector of brightness
    black = next(effect for effect in effects if effect.name == "black shutters at the edge")
    assert abs(black.log_odds_change) < 1e-5


def test_flips_are_marked(model: OpenedModel) -> None:
    film = np.full((56, 56), 90, np.uint8)  # no evidence: log-odds -1, not called
    white = next(e for e in acquisition_effects(model, film, 1) if e.name == "white shutters at the edge")
    assert white.flips
    assert white.score > 0.5
    assert explain_films(model, film[np.newaxis], 1)[0].score < 0.5
