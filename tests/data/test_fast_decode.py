"""The fast ways of decoding give the pixels of the plain way, within the tolerance that `raster` states."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cxray.data.decode import decode_bytes
from cxray.data.raster import LUMA_TOLERANCE_LEVELS

LUMA = np.array([0.299, 0.587, 0.114])


def plain_way(content: bytes) -> npt.NDArray[np.float64]:
    """Grey levels 0–255 by RGB and luma."""
    with Image.open(io.BytesIO(content)) as image:
        return np.rint(np.asarray(image.convert("RGB")) @ LUMA)


def film(seed: int, side: int = 120) -> npt.NDArray[np.float64]:
    """Smooth structure with noise, (side, side), 0–255."""
    generator = np.random.default_rng(seed)
    rough = Image.fromarray(generator.integers(20, 235, (9, 9)).astype(np.uint8))
    smooth = np.asarray(rough.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
    return np.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255)


def as_jpeg(pixels: npt.NDArray[np.float64], **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(stream, format="JPEG", quality=90, **options)
    return stream.getvalue()


@pytest.mark.parametrize("subsampling", [0, 2])
def test_grey_stored_as_colour_is_equal(subsampling: int) -> None:
    content = as_jpeg(np.repeat(film(1)[..., None], 3, axis=2), subsampling=subsampling)
    decoded = decode_bytes(content)
    assert decoded.facts == ("colour model RGB turned into grey",)
    np.testing.assert_array_equal(np.rint(decoded.pixels * 255), plain_way(content))


@pytest.mark.parametrize("tint", [(0.97, 1.0, 1.02), (0.96, 1.0, 1.05), (1.03, 1.0, 0.95)])
def test_a_slight_tint_stays_within_the_tolerance(tint: tuple[float, float, float]) -> None:
    content = as_jpeg(np.clip(film(2)[..., None] * tint, 0, 255))
    decoded = decode_bytes(content)
    assert decoded.facts == ("colour model RGB turned into grey",)
    assert np.abs(decoded.pixels * 255 - plain_way(content)).max() <= LUMA_TOLERANCE_LEVELS


def test_real_colour_takes_the_plain_way() -> None:
    colour = np.stack([film(3), film(4), film(5)], axis=2)
    decoded = decode_bytes(as_jpeg(colour))
    assert decoded.facts == ("colour model RGB turned into grey", "real colour was lost in it")
    np.testing.assert_array_equal(np.rint(decoded.pixels * 255), plain_way(as_jpeg(colour)))


@pytest.mark.parametrize(("side", "scale"), [(895, 1), (896, 2), (1792, 4)])
def test_a_reduced_jpeg_keeps_at_least_twice_the_wanted_side(side: int, scale: int) -> None:
    grey = film(6, side)
    content = as_jpeg(np.repeat(grey[..., None], 3, axis=2))
    decoded = decode_bytes(content, at_least=224)
    assert decoded.pixels.shape[0] == -(-side // scale)
    assert decoded.stored_height == side
    side = side // scale * scale
    small = grey[:side, :side].reshape(side // scale, scale, side // scale, scale).mean(axis=(1, 3))
    inner = decoded.pixels[: side // scale, : side // scale]
    assert np.abs(inner * 255 - small).mean() < 3


def test_the_real_films_are_equal_to_the_last_level(shared: Path) -> None:
    for path in sorted((shared / "data" / "kermany224" / "train").rglob("*.jpeg"))[::100]:
        content = path.read_bytes()
        np.testing.assert_array_equal(np.rint(decode_bytes(content).pixels * 255), plain_way(content), path.name)
