"""Looks that films borrow: grey values by rank, grain by band, and nothing of another film's shapes."""

from __future__ import annotations

import numpy as np
import pytest

from cxray.config import AugmentSettings, InputCard, Recipe
from cxray.errors import ConfigError, DataError
from cxray.model.films import LabelledFilms

tf = pytest.importorskip("tensorflow", reason="needs the extra train")
from cxray.model.augment import augment  # noqa: E402 - after the skip
from cxray.model.looks import (  # noqa: E402 - after the skip
    MOST_LOOKS,
    Looks,
    borrow_grain,
    borrow_grey,
    looks_to_borrow,
)
from cxray.model.multiworker import check_settings  # noqa: E402 - after the skip
from cxray.model.share import Share  # noqa: E402 - after the skip

KEY = tf.constant([3, 4])
BOTH = AugmentSettings(grey_exchange_fraction=1.0, grain_exchange_fraction=1.0)


def films(count: int = 6, height: int = 48, width: int = 40, frame: int = 4) -> np.ndarray:
    """Smooth films with grain of their own strength, beneath a black margin `frame` rows wide."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[:height, :width] / height
    made = []
    for number in range(count):
        shape = 0.5 + 0.2 * np.sin(3 * rows + number) * np.cos(2 * columns)
        film = (shape + (0.002 + 0.02 * number) * random.standard_normal((height, width))) ** (1 + 0.2 * number)
        film[:frame] = 0
        made.append(film)
    return np.clip(np.stack(made), 0, 1).astype(np.float32)[..., None]


def power_of_finest(changed: np.ndarray) -> np.ndarray:
    spectrum = np.abs(np.fft.rfft2(changed[..., 0])) ** 2
    return np.log(spectrum[:, 12:36, 12:].mean(axis=(1, 2)))


def test_a_film_that_borrows_its_own_look_stays_as_it_is() -> None:
    own = films()
    looks = Looks.of(own)
    np.testing.assert_allclose(borrow_grain(tf.constant(own), looks.grain, tf.ones(6)), own, atol=1e-5)
    levels = np.floor(own * 255 + 0.5) / 255
    np.testing.assert_allclose(borrow_grey(tf.constant(levels), looks.grey, tf.ones(6)), levels, atol=1e-6)


def test_weight_0_changes_nothing() -> None:
    own = films()
    looks = Looks.of(own[::-1].copy())
    np.testing.assert_allclose(borrow_grain(tf.constant(own), looks.grain, tf.zeros(6)), own, atol=1e-5)
    np.testing.assert_array_equal(borrow_grey(tf.constant(own), looks.grey, tf.zeros(6)), own)


def test_borrowed_grey_values_are_those_of_the_other_film_in_their_own_order() -> None:
    own = films()
    looks = Looks.of(own)
    changed = borrow_grey(tf.constant(own[:1]), looks.grey[5:], tf.ones(1)).numpy()[0, ..., 0]
    inside = own[0, ..., 0] > 0
    assert (changed[~inside] == 0).all()
    wanted = np.quantile(own[5][own[5] > 0], [0.1, 0.5, 0.9])
    np.testing.assert_allclose(np.quantile(changed[inside], [0.1, 0.5, 0.9]), wanted, atol=0.02)
    order = np.argsort(own[0, ..., 0][inside], kind="stable")
    assert (np.diff(changed[inside][order]) >= -1e-6).all()


def test_borrowed_grain_has_the_other_films_power_and_not_its_shapes() -> None:
    own = films(frame=0)  # black cannot become darker, so a frame keeps some of its own grain
    looks = Looks.of(own)
    changed = borrow_grain(tf.constant(own[1:2]), looks.grain[3:4], tf.ones(1)).numpy()
    assert power_of_finest(changed)[0] == pytest.approx(power_of_finest(own[3:4])[0], abs=0.3)
    # Below four waves a film keeps its power: the shapes, and with them what there is to see.
    coarse = np.abs(np.fft.rfft2(changed[0, ..., 0]))[:3, :3]
    np.testing.assert_allclose(coarse, np.abs(np.fft.rfft2(own[1, ..., 0]))[:3, :3], rtol=0.03)


def test_padding_stays_black_whatever_is_borrowed() -> None:
    own = films()
    own[:, :, :6] = own[:, :, -6:] = 0
    noisy = np.random.default_rng(1).random(own.shape).astype(np.float32)
    changed = augment(tf.constant(own), BOTH, KEY, looks=Looks.of(noisy)).numpy()
    assert (changed[:, :4] == 0).all() and (changed[:, :, :6] == 0).all() and (changed[:, :, -6:] == 0).all()
    assert not np.allclose(changed, own, atol=0.05)


def test_a_film_that_is_black_all_over_lends_nothing() -> None:
    black = Films(6)
    black.pixels[:4] = 0
    whole = np.arange(6)
    given = LabelledFilms(black, whole, whole % 2, np.ones(6, np.float32), InputCard(16, 16))
    found = looks_to_borrow(given, BOTH, seed=0)
    assert found is not None and len(found.grey) == len(found.grain) == 2
    black.pixels[:] = 0
    with pytest.raises(DataError, match="black all over"):
        looks_to_borrow(given, BOTH, seed=0)


def test_no_film_gains_more_than_fourfold() -> None:
    own = films()
    own[0] = 0.5  # no grain at all
    looks = Looks.of(own)
    changed = borrow_grain(tf.constant(own[5:]), looks.grain[:1], tf.ones(1)).numpy()
    assert power_of_finest(changed)[0] == pytest.approx(power_of_finest(own[5:])[0] - 2 * np.log(4), abs=0.1)
    smooth = 0.5 + 0.01 * films(frame=0)[:1]
    louder = borrow_grain(tf.constant(smooth), Looks.of(films(frame=0)[5:]).grain, tf.ones(1)).numpy()
    assert power_of_finest(louder)[0] == pytest.approx(power_of_finest(smooth)[0] + 2 * np.log(4), abs=0.1)


def test_all_settings_have_a_range() -> None:
    for name in ("grey_exchange_fraction", "grain_exchange_fraction"):
        with pytest.raises(ConfigError, match=name):
            AugmentSettings(**{name: 1.1})


def test_films_borrow_only_from_looks_that_are_handed_over() -> None:
    own = films()
    with pytest.raises(ValueError, match="none were handed over"):
        augment(tf.constant(own), BOTH, KEY)
    changed = augment(tf.constant(own), BOTH, KEY, looks=Looks.of(own[::-1].copy())).numpy()
    assert all(not np.allclose(film, before) for film, before in zip(changed, own, strict=True))
    assert changed.min() >= 0 and changed.max() <= 1


def test_two_workers_borrow_as_one_process_does() -> None:
    own = films()
    looks = Looks.of(own)
    whole = augment(tf.constant(own), BOTH, KEY, looks=looks).numpy()
    parts = [augment(tf.constant(own[3 * n : 3 * n + 3]), BOTH, KEY, Share(n, 2), looks).numpy() for n in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)  # to the last bit
    check_settings(Recipe("shared", augment=BOTH), workers=2)


class Films:
    """Films in memory, as a source for training."""

    def __init__(self, count: int) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16)).astype(np.uint8)

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices]


def labelled(count: int) -> LabelledFilms:
    whole = np.arange(count)
    return LabelledFilms(Films(count), whole, whole % 2, np.ones(count, np.float32), InputCard(16, 16))


def test_looks_are_kept_only_where_a_recipe_wants_them_and_not_without_end() -> None:
    assert looks_to_borrow(labelled(10), AugmentSettings(), seed=0) is None
    few = looks_to_borrow(labelled(10), BOTH, seed=0)
    many = looks_to_borrow(labelled(MOST_LOOKS + 100), BOTH, seed=0)
    assert few is not None and many is not None
    assert len(few.grey) == len(few.grain) == 10
    assert len(many.grey) == MOST_LOOKS
    again = looks_to_borrow(labelled(MOST_LOOKS + 100), BOTH, seed=0)
    np.testing.assert_array_equal(many.grain, again.grain)
