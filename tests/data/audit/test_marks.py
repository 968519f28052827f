import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cxray.data.audit.marks import count_text_lines
from cxray.data.audit.scan import Scan


def film_with(*texts: str, size: int = 20, ground: int = 60) -> np.ndarray:
    """A film of even grey, uint8 (512, 512), with lines of white lettering `size` pixels tall."""
    film = Image.new("L", (512, 512), ground)
    pen = ImageDraw.Draw(film)
    for line, text in enumerate(texts):
        pen.text((40, 30 + 60 * line), text, fill=255, font=ImageFont.load_default(size))
    return np.asarray(film)


def test_lines_of_text_are_counted():
    assert count_text_lines(film_with("PORTABLE")) == 1
    assert count_text_lines(film_with("MEIER HANS", "12051958")) >= 2


@pytest.mark.parametrize("marker", ["", "R", "L", "AP", "R AP"])
def test_markers_are_no_text(marker: str):
    assert count_text_lines(film_with(marker)) == 0


def test_letters_on_bright_ground_cannot_be_told_apart_and_are_none():
    assert count_text_lines(film_with("PORTABLE", ground=200)) == 0


def test_a_white_film_and_noise_are_no_text():
    assert count_text_lines(np.full((256, 256), 255, dtype=np.uint8)) == 0
    assert count_text_lines(np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)) == 0


def test_phantoms_with_markers_and_short_texts_raise_few_alarms(clean_scan: Scan):
    assert (clean_scan.text_lines > 0).mean() < 0.02
