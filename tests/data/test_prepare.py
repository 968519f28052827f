"""From pixels to a model's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxray.config import InputCard
from cxray.data.prepare import as_model_input, equalised, prepare, prepare_file, windowed
from cxray.errors import ConfigError, UnreadableImage
from cxray.records import PixelImage
from tests.conftest import draw


def film(height: int, width: int, value: float = 1.0) -> PixelImage:
    return PixelImage(np.full((height, width), value, np.float32), height, width, 8)


def test_padding_keeps_the_aspect_ratio_and_centres() -> None:
    square = prepare(film(100, 200), InputCard(64, 64))
    rows = np.flatnonzero(square.any(axis=1))
    assert (rows[0], rows[-1]) == (16, 47)
    assert (square[16:48] == 255).all()
    tall = prepare(film(200, 100), InputCard(64, 64))
    assert np.flatnonzero(tall.any(axis=0)).tolist() == list(range(16, 48))


def test_stretching_fills_the_frame() -> None:
    assert (prepare(film(100, 200), InputCard(64, 48, fit="stretch")) == 255).all()


def test_the_stored_aspect_ratio_counts_not_the_reduced_one() -> None:
    # 101 x 51 stored, decoded at half scale and rounded up to 51 x 26.
    reduced = PixelImage(np.ones((51, 26), np.float32), 101, 51, 8)
    assert prepare(reduced, InputCard(101, 101)).any(axis=0).sum() == 51


def test_rounding_to_eight_bits_and_back() -> None:
    levels = PixelImage((np.arange(256, dtype=np.float32) / 255).reshape(16, 16), 16, 16, 8)
    prepared = prepare(levels, InputCard(16, 16))
    np.testing.assert_array_equal(prepared.ravel(), np.arange(256))
    batch = as_model_input(prepared[None])
    assert (batch.shape, batch.dtype) == ((1, 16, 16, 1), np.float32)
    np.testing.assert_array_equal(batch.ravel(), levels.pixels.ravel())


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((256, 256), np.float32)
    stripes[:, ::2] = 1
    small = prepare(PixelImage(stripes, 256, 256, 8), InputCard(32, 32))
    assert np.abs(small.astype(int) - 128).max() <= 6


@pytest.mark.parametrize(("side", "refused"), [(15, True), (16, False)])
def test_films_too_small_to_show_anything(side: int, refused: bool) -> None:
    if not refused:
        assert prepare(film(side, 400), InputCard(32, 32)).shape == (32, 32)
        return
    with pytest.raises(UnreadableImage, match="a.png is 400 x 15 pixels; at least 16 a side"):
        prepare(film(side, 400), InputCard(32, 32), name="a.png")


def test_one_pixel_from_disk_is_refused_with_its_name(tmp_path: Path) -> None:
    draw(tmp_path / "dot.png", side=1)
    with pytest.raises(UnreadableImage, match=r"dot\.png is 1 x 1 pixels"):
        prepare_file(tmp_path / "dot.png", InputCard())


def test_equalised_films_forget_exposure_and_keep_their_order() -> None:
    dark = np.random.default_rng(2).integers(60, 120, size=(40, 30)).astype(np.uint8)
    dark[:3] = 0
    brighter = np.where(dark > 0, dark * 2 + 3, 0).astype(np.uint8)
    np.testing.assert_array_equal(equalised(dark), equalised(brighter))
    result = equalised(dark)
    assert not result[:3].any() and result[3:].min() >= 1 and result.max() == 255
    assert abs(float(result[3:].mean()) - 128) < 5  # spread evenly
    ranks = [int(result[dark == grey][0]) for grey in range(60, 120)]
    assert ranks == sorted(ranks)


def test_windowed_films_forget_a_linear_exposure_and_cut_a_hundredth_on_either_side() -> None:
    dark = np.random.default_rng(4).integers(20, 81, size=(100, 100)).astype(np.uint8)
    np.testing.assert_array_equal(windowed(dark), windowed((dark * 3 + 5).astype(np.uint8)))
    dark[0, :50], dark[1, :50] = 1, 255  # a marker and a scratch, half of a hundredth each, move nothing
    result = windowed(dark)
    assert result[0, 0] == 0 and result[1, 0] == 255 and result[dark == 50].min() > 100
    assert 0.005 < (result[2:] == 255).mean() < 0.04


@pytest.mark.parametrize("grey", [0, 7, 255])
def test_windowing_a_film_of_one_grey_changes_nothing(grey: int) -> None:
    assert np.unique(windowed(np.full((4, 4), grey, dtype=np.uint8))) == [grey]


@pytest.mark.parametrize(("grey", "expected"), [(0, 0), (1, 255), (255, 255)])
def test_films_of_one_grey_stay_of_one_grey(grey: int, expected: int) -> None:
    assert np.unique(equalised(np.full((4, 4), grey, dtype=np.uint8))) == [expected]


def test_the_input_card_decides_about_equalising() -> None:
    ramp = np.linspace(0.2, 0.4, 64 * 32, dtype=np.float32).reshape(64, 32)
    drawn = PixelImage(ramp, 64, 32, 8)
    plain, spread = (prepare(drawn, InputCard(64, 64, intensity=kind)) for kind in ("as_is", "equalise"))
    assert plain.max() == 102 and spread.max() == 255
    assert not spread[:, :16].any()  # the padding stays black
    with pytest.raises(ConfigError, match=r"input\.intensity must be 'as_is' or 'window' or 'equalise', got 'bright'"):
        InputCard(intensity="bright")
