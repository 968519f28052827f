"""Pixels in: formats, depths, orientation, reduced scale, and everything that is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxray.data import decode
from cxray.data.decode import decode_bytes, decode_file
from cxray.errors import UnreadableImage

RAMP = np.linspace(0, 255, 40 * 30).reshape(30, 40).astype(np.uint8)


NOISE = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_lossless_eight_bit_formats_are_exact(kind: str, options: dict[str, object]) -> None:
    film = decode_bytes(encode(Image.fromarray(RAMP), kind, **options))
    np.testing.assert_allclose(film.pixels, RAMP / np.float32(255), atol=1e-6)
    assert (film.stored_height, film.stored_width, film.bits) == (30, 40, 8)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_baseline_and_progressive(progressive: bool) -> None:
    film = decode_bytes(encode(Image.fromarray(RAMP), "JPEG", quality=95, progressive=progressive))
    assert np.abs(film.pixels - RAMP / 255).max() < 0.03


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_films_keep_their_depth(kind: str) -> None:
    deep = np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16)
    film = decode_bytes(encode(Image.fromarray(deep), kind))
    assert film.bits == 16
    np.testing.assert_array_equal(film.pixels, deep.astype(np.float32) / np.float32(65535))
    assert len(np.unique(film.pixels)) == 1200


def test_grey_values_are_never_stretched() -> None:
    film = decode_bytes(encode(Image.fromarray(np.full((20, 20), 128, np.uint8)), "PNG"))
    np.testing.assert_allclose(film.pixels, 128 / 255, atol=1e-6)


def test_colour_becomes_bt601_luma() -> None:
    colour = np.zeros((20, 20, 3), np.uint8)
    colour[...] = (200, 100, 50)
    film = decode_bytes(encode(Image.fromarray(colour), "PNG"))
    np.testing.assert_allclose(film.pixels, (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255, atol=1e-6)
    assert any("RGB" in fact for fact in film.facts)


def test_alpha_is_laid_over_black_and_palettes_are_resolved() -> None:
    rgba = np.full((20, 20, 4), 255, np.uint8)
    rgba[:, :10, 3] = 0
    film = decode_bytes(encode(Image.fromarray(rgba), "PNG"))
    assert film.pixels[0, 0] == 0
    assert film.pixels[0, 15] == pytest.approx(1)
    palette = Image.fromarray(RAMP).convert("P")
    np.testing.assert_allclose(decode_bytes(encode(palette, "PNG")).pixels, RAMP / 255, atol=1e-2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_for_every_value(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = {1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 5: RAMP.T, 6: RAMP.T[:, ::-1]}
    upright |= {7: RAMP[::-1, ::-1].T, 8: RAMP.T[::-1]}
    film = decode_bytes(encode(Image.fromarray(RAMP), "PNG", exif=exif))
    np.testing.assert_allclose(film.pixels, upright[orientation] / np.float32(255), atol=1e-6)
    assert (film.stored_height, film.stored_width) == upright[orientation].shape


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_an_oriented_tiff_keeps_its_aspect_ratio(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    film = decode_bytes(encode(Image.fromarray(RAMP), "TIFF", exif=exif))
    assert (film.stored_height, film.stored_width) == film.pixels.shape == ((30, 40) if orientation == 3 else (40, 30))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_is_zero_tiff_is_inverted_whatever_its_depth(kind: type) -> None:
    top = np.iinfo(kind).max
    values = (RAMP.astype(np.float64) / 255 * top).astype(kind)
    content = bytearray(encode(Image.fromarray(values), "TIFF"))
    with Image.open(io.BytesIO(bytes(content))) as image:
        assert image.tag_v2[262] == 1
    # Pillow writes BlackIsZero whatever it is told, so the tag's value is changed in the file itself.
    position = bytes(content).index(struct.pack("<HHI", 262, 3, 1)) + 8
    content[position : position + 2] = struct.pack("<H", 0)
    film = decode_bytes(bytes(content))
    np.testing.assert_allclose(film.pixels, 1 - values / np.float32(top), atol=1e-6)


def test_jpeg_is_decoded_at_reduced_scale_only_when_enough_pixels_remain() -> None:
    smooth = Image.fromarray(RAMP).resize((1600, 1200), Image.Resampling.BICUBIC)
    content = encode(smooth, "JPEG", quality=95)
    reduced = decode_bytes(content, at_least=200)
    assert reduced.pixels.shape == (600, 800)
    assert (reduced.stored_height, reduced.stored_width) == (1200, 1600)
    assert decode_bytes(content, at_least=601).pixels.shape == (1200, 1600)
    full = decode_bytes(content).pixels
    blocks = full.reshape(600, 2, 800, 2).mean(axis=(1, 3))
    assert np.abs(blocks - reduced.pixels).max() < 0.02


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "film.dat").write_bytes(encode(Image.fromarray(RAMP), "PNG"))
    assert decode_file(tmp_path / "film.dat").pixels.shape == (30, 40)
    (tmp_path / "note.jpeg").write_text("This is a note, not a film.")
    with pytest.raises(UnreadableImage, match=r"note\.jpeg is no film: its content is plain text\. Readable kinds"):
        decode_file(tmp_path / "note.jpeg")


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (encode(Image.fromarray(NOISE), "PNG")[:600], "is damaged or cut off"),
        (encode(Image.fromarray(RAMP), "JPEG")[:400], "is damaged or cut off"),
        (encode(Image.fromarray(RAMP).convert("CMYK"), "JPEG"), "print colour model CMYK"),
        (bomb(), "claims more than 64 million pixels"),
        (encode(Image.fromarray(RAMP), "GIF"), "its content is gif"),
        (b"%PDF-1.7 ...", "its content is pdf"),
        (bytes(range(256)), "its content is of no known kind"),
        (
            encode(Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(RAMP)]),
            "holds 2 frames; one film was expected",
        ),
        (encode(Image.fromarray(np.full((9, 9), 7.5, np.float32)), "TIFF"), "floating-point pixels outside 0-1"),
    ],
)
def test_what_is_no_film_is_refused_with_a_reason(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode_bytes(content, name="film.png")
    assert message in str(caught.value)
    assert caught.value.next_step


def test_a_missing_or_huge_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableImage, match="cannot be read: No such file"):
        decode_file(tmp_path / "none.png")
    monkeypatch.setattr(decode, "MAXIMUM_FILE_BYTES", 10)
    (tmp_path / "big.png").write_bytes(bytes(11))
    with pytest.raises(UnreadableImage, match="more than"):
        decode_file(tmp_path / "big.png")


def test_random_damage_never_escapes_as_another_error() -> None:
    generator = np.random.default_rng(0)
    sources = [encode(Image.fromarray(RAMP), kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP")]
    outcomes = set()
    for round_ in range(200):
        content = bytearray(sources[round_ % len(sources)])
        for position in generator.integers(0, len(content), 6):
            content[position] = generator.integers(0, 256)
        try:
            decode_bytes(bytes(content))
            outcomes.add("read")
        except UnreadableImage:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
