"""Random changes: none without settings, repeatable by key, equal eagerly and inside tf.data."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cxray.config import AugmentSettings, Recipe
from cxray.errors import ConfigError

tf = pytest.importorskip("tensorflow", reason="needs the extra train")
from cxray.model.augment import _towards_equalised, augment  # noqa: E402 - after the skip
from cxray.model.looks import Looks  # noqa: E402 - after the skip
from cxray.model.multiworker import check_settings  # noqa: E402 - after the skip

FILMS = np.random.default_rng(0).random((6, 24, 20, 1)).astype(np.float32)
KEY = tf.constant([3, 4])
LOOKS = Looks.of(FILMS[::-1].copy())
EVERYTHING = AugmentSettings(
    crop_fraction=0.2,
    aspect_fraction=0.3,
    rotate_degrees=10,
    shear_degrees=5,
    shift_fraction=0.1,
    zoom_fraction=0.1,
    jitter_pixels=4,
    flip=True,
    brightness=0.1,
    contrast=0.2,
    gamma=0.2,
    equalise_fraction=0.5,
    erase_fraction=0.2,
    border_fraction=0.1,
    border_exchange_fraction=0.1,
    grey_exchange_fraction=0.5,
    grain_exchange_fraction=0.5,
)


def test_no_settings_change_nothing() -> None:
    np.testing.assert_array_equal(augment(tf.constant(FILMS), AugmentSettings(), KEY), FILMS)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(AugmentSettings)])
def test_each_setting_alone_changes_films_and_keeps_their_range(name: str) -> None:
    value = {"jitter_pixels": 6, "flip": True, "rotate_degrees": 10.0, "shear_degrees": 10.0}.get(name, 0.3)
    changed = augment(tf.constant(FILMS), AugmentSettings(**{name: value}), KEY, looks=LOOKS).numpy()
    assert changed.shape == FILMS.shape
    assert changed.dtype == np.float32
    assert changed.min() >= 0 and changed.max() <= 1
    assert not np.array_equal(changed, FILMS)


def test_the_key_decides_and_films_of_a_batch_differ() -> None:
    same = tf.constant(np.repeat(FILMS[:1], 6, axis=0))
    first = augment(same, EVERYTHING, KEY, looks=LOOKS).numpy()
    np.testing.assert_array_equal(first, augment(same, EVERYTHING, KEY, looks=LOOKS).numpy())
    assert not np.array_equal(first, augment(same, EVERYTHING, tf.constant([3, 5]), looks=LOOKS).numpy())
    assert len({film.tobytes() for film in first}) == 6


def test_stretching_changes_the_aspect_ratio_up_to_the_limit_and_keeps_the_area() -> None:
    square = np.zeros((400, 101, 101, 1), dtype=np.float32)
    square[:, 40:61, 40:61] = 1.0
    changed = augment(tf.constant(square), AugmentSettings(aspect_fraction=0.5), KEY).numpy()[..., 0]
    width, height = changed[:, 50].sum(axis=1), changed[:, :, 50].sum(axis=1)
    ratio = width / height
    assert 1.4 < ratio.max() < 1.56
    assert 0.64 < ratio.min() < 0.72
    np.testing.assert_allclose(width * height, 21 * 21, rtol=0.12)


# Equalising counts grey levels, so a film that geometry rounded otherwise can jump by a level: by itself, then.
@pytest.mark.parametrize(
    "settings", [dataclasses.replace(EVERYTHING, equalise_fraction=0.0), AugmentSettings(equalise_fraction=1.0)]
)
def test_inside_tf_data_the_result_is_the_same(settings: AugmentSettings) -> None:
    pipeline = tf.data.Dataset.from_tensors(FILMS).map(lambda films: augment(films, settings, KEY, looks=LOOKS))
    np.testing.assert_allclose(next(iter(pipeline)), augment(tf.constant(FILMS), settings, KEY, looks=LOOKS), atol=1e-4)


def test_mirroring_keeps_every_grey_value_and_hits_about_half() -> None:
    many = np.repeat(FILMS[:1], 200, axis=0)
    changed = augment(tf.constant(many), AugmentSettings(flip=True), KEY).numpy()
    mirrored = sum(np.allclose(film, FILMS[0, :, ::-1], atol=1e-5) for film in changed)
    untouched = sum(np.allclose(film, FILMS[0], atol=1e-5) for film in changed)
    assert mirrored + untouched == 200
    assert 70 < mirrored < 130


def test_a_shift_moves_content_by_at_most_the_setting() -> None:
    dot = np.zeros((50, 41, 41, 1), np.float32)
    dot[:, 20, 20] = 1
    moved = augment(tf.constant(dot), AugmentSettings(shift_fraction=0.1), KEY).numpy()[..., 0]
    centres = np.array([[(film * np.arange(41)[:, None]).sum(), (film * np.arange(41)).sum()] for film in moved])
    assert 1 < np.abs(centres / moved.sum(axis=(1, 2))[:, None] - 20).max() <= 4.1 + 1e-3


def test_erasing_paints_one_rectangle_in_about_half_of_the_films() -> None:
    white = np.full((400, 40, 40, 1), 0.5, np.float32)
    changed = augment(tf.constant(white), AugmentSettings(erase_fraction=0.2), KEY).numpy()
    hit = [(film != 0.5).mean() for film in changed]
    assert 0.3 < np.mean(np.array(hit) > 0) < 0.55
    assert max(hit) < 0.25


def test_borders_are_blackened_up_to_the_limit_in_about_half_of_the_films() -> None:
    grey = np.full((400, 40, 50, 1), 0.5, np.float32)
    changed = augment(tf.constant(grey), AugmentSettings(border_fraction=0.2), KEY).numpy()[..., 0]
    hit = (changed == 0).any(axis=(1, 2))
    assert 0.4 < hit.mean() < 0.6
    top = (changed[:, :, 25] == 0)[:, :20].sum(axis=1)
    left = (changed[:, 20] == 0)[:, :25].sum(axis=1)
    assert top.max() == 8  # a fifth of 40 rows
    assert left.max() == 10  # and of 50 columns
    assert np.abs(np.corrcoef(top[hit], left[hit])[0, 1]) < 0.3
    assert set(np.unique(changed)) == {0.0, 0.5}


def test_exchanged_borders_come_from_the_film_before_in_about_half_of_the_films() -> None:
    shades = np.arange(1, 401, dtype=np.float32) / 401
    films = np.broadcast_to(shades[:, None, None, None], (400, 40, 50, 1))
    changed = augment(tf.constant(films), AugmentSettings(border_exchange_fraction=0.25), KEY).numpy()[..., 0]
    own = changed == shades[:, None, None]
    assert (own | (changed == np.roll(shades, 1)[:, None, None])).all()
    assert own[:, 10:30, 13:37].all()  # what lies inside of the widest margins is kept
    assert 0.4 < (~own).any(axis=(1, 2)).mean() < 0.6
    assert (~own)[:, 9].any(axis=1).mean() > 0  # and the widest reach a quarter of the side


def test_drawn_all_the_way_a_film_is_equalised_and_black_stays_black() -> None:
    films = 0.02 + 0.98 * np.repeat(np.random.default_rng(1).random((1, 60, 60, 1)), 3, axis=0).astype(np.float32) ** 3
    films[:, :10] = 0
    drawn = _towards_equalised(tf.constant(films), tf.constant([0.0, 0.5, 1.0])).numpy()
    np.testing.assert_array_equal(drawn[0], films[0])
    assert (drawn[:, :10] == 0).all()
    inside = drawn[2, 10:]
    assert np.quantile(inside, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.06)
    np.testing.assert_allclose(drawn[1] - films[1], 0.5 * (_equalised(films[1]) - films[1]), atol=1e-6)


def _equalised(film: np.ndarray) -> np.ndarray:
    return _towards_equalised(tf.constant(film[None]), tf.constant([1.0])).numpy()[0]


def test_several_workers_refuse_to_exchange_borders_because_each_has_a_part_of_the_batch() -> None:
    recipe = Recipe("shared", augment=AugmentSettings(border_exchange_fraction=0.2))
    with pytest.raises(ConfigError, match="augment.border_exchange_fraction") as caught:
        check_settings(recipe, workers=2)
    assert "augment.border_exchange_fraction=0" in caught.value.next_step
