import numpy as np
import pytest
from PIL import Image

from cxray.data.audit.exposures import CARD, detail_correlation


def grain(seed: int) -> np.ndarray:
    """A film of fine structure, uint8 (128, 128)."""
    small = np.random.default_rng(seed).integers(60, 200, (64, 64), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((CARD.width, CARD.height), Image.Resampling.BILINEAR))


def test_a_film_is_itself_and_not_another():
    assert detail_correlation(grain(0), grain(0)) == pytest.approx((1, 1), abs=0.01)
    in_place, anywhere = detail_correlation(grain(0), grain(1))
    assert abs(in_place) < 0.1
    assert anywhere < 0.3


@pytest.mark.parametrize(("pixels", "is_found"), [(8, True), (9, False)])
def test_shifts_are_followed_up_to_eight_pixels(pixels: int, is_found: bool):
    in_place, anywhere = detail_correlation(grain(0), np.roll(grain(0), pixels, axis=1))
    assert in_place < 0.2
    assert (anywhere > 0.9) == is_found


def test_a_film_cropped_by_a_sixtieth_is_found_and_its_grey_values_do_not_matter():
    film = Image.fromarray(grain(0))
    cropped = film.crop((2, 2, 126, 126)).resize(film.size, Image.Resampling.BILINEAR)
    _, anywhere = detail_correlation(grain(0), np.asarray(cropped) // 2)
    assert anywhere > 0.8


def test_a_film_without_detail_is_like_nothing():
    assert detail_correlation(np.full((128, 128), 90, dtype=np.uint8), grain(0)) == (0.0, 0.0)
    assert max(detail_correlation(grain(0), np.full((128, 128), 90, dtype=np.uint8))) < 0.1
