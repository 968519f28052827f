"""Sixteen encodings by named decoders, dcmtk's own encoders, and code streams that are not what the header says."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame

from cxray.data.dicom import read_dicom
from cxray.data.dicom.codestream import read_code_stream, without_comments
from cxray.data.dicom.stored import CODECS
from cxray.errors import UnreadableImage
from tests.data.dicom.encodings import ENCODINGS, with_frame
from tests.data.dicom.films import bytes_of, chest, dcmtk, film, save


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_gives_the_stored_values(name: str) -> None:
    encoding = ENCODINGS[name]
    stored, content = encoding.film()
    image = read_dicom(content)
    found = np.rint(image.pixels * (2**encoding.bits - 1)).astype(np.int64)
    assert found.shape == stored.shape
    assert np.abs(found - stored).max() <= encoding.error
    assert image.facts == ()


@pytest.mark.parametrize(
    ("program", "options", "error"),
    [
        ("dcmcjpeg", ["+el"], 0),
        ("dcmcjpeg", ["+e1"], 0),
        ("dcmcjpls", ["+el"], 0),
        ("dcmcjpls", ["+en", "+md", "3"], 3),
        ("dcmcrle", [], 0),
        ("dcmconv", ["+td"], 0),
        ("dcmconv", ["+tb"], 0),
        ("dcmconv", ["+ti"], 0),
    ],
    ids=lambda value: str(value),
)
def test_films_encoded_by_dcmtk(program: str, options: list[str], error: int, tmp_path: Path) -> None:
    stored = chest()
    plain, packed = save(film(stored), tmp_path / "plain.dcm"), tmp_path / "packed.dcm"
    subprocess.run([dcmtk(program), *options, str(plain), str(packed)], check=True, capture_output=True, timeout=60)
    found = np.rint(read_dicom(packed).pixels * 4095)
    assert np.abs(found - stored).max() <= error


def test_twelve_bit_lossy_jpeg_is_decoded_as_dcmtk_decodes_it(tmp_path: Path) -> None:
    plain, packed, back = save(film(chest()), tmp_path / "plain.dcm"), tmp_path / "packed.dcm", tmp_path / "back.dcm"
    # dcmtk changes the rescale of what it packs lossily, so its own decoder is the reference, not the original.
    subprocess.run([dcmtk("dcmcjpeg"), "+ee", str(plain), str(packed)], check=True, capture_output=True, timeout=60)
    subprocess.run([dcmtk("dcmdjpeg"), str(packed), str(back)], check=True, capture_output=True, timeout=60)
    assert dcmread(packed).file_meta.TransferSyntaxUID == uid.JPEGExtended12Bit
    difference = np.abs(read_dicom(packed).pixels - read_dicom(back).pixels)
    assert difference.max() <= 1.5 / 4095


def test_every_syntax_has_one_named_decoder_that_is_installed() -> None:
    read_dicom(bytes_of(film(chest())))  # registers our own
    from pydicom.pixels.decoders.base import get_decoder

    for syntax, codec in CODECS.items():
        if codec.plugin:
            assert codec.plugin in get_decoder(uid.UID(syntax)).available_plugins, syntax


def test_a_syntax_that_is_not_read_is_named_as_such() -> None:
    with pytest.raises(UnreadableImage, match="the upload uses a transfer syntax that is not read here"):
        read_dicom(with_frame(film(chest()), uid.MPEG2MPML, b"\0" * 64))


@pytest.mark.parametrize("codec", ["jpegls", "jpeg2k", "htj2k", "jpeg8"])
def test_a_code_stream_larger_than_its_header_is_refused_before_it_is_decoded(codec: str) -> None:
    large = np.zeros((6000, 6000), np.uint8)
    options = {"jpeg2k": {"level": 0, "reversible": True, "codecformat": "j2k"}}.get(codec, {})
    syntax = {"jpegls": uid.JPEGLSLossless, "jpeg2k": uid.JPEG2000Lossless, "htj2k": uid.HTJ2KLossless}
    frame = getattr(imagecodecs, f"{codec}_encode")(large, **options)
    content = with_frame(film(chest(bits=8).astype(np.uint8), bits=8), syntax.get(codec, uid.JPEGBaseline8Bit), frame)
    with pytest.raises(UnreadableImage, match="declares 220 x 240 grey pixels, but its code stream holds 6000 x 6000"):
        read_dicom(content)


def test_a_colour_stream_under_a_grey_header_is_refused() -> None:
    frame = imagecodecs.jpeg8_encode(np.zeros((240, 220, 3), np.uint8))
    content = with_frame(film(chest(bits=8).astype(np.uint8), bits=8), uid.JPEGBaseline8Bit, frame)
    with pytest.raises(UnreadableImage, match="code stream holds 220 x 240 with 3 components"):
        read_dicom(content)


def test_a_stream_of_another_codec_is_refused() -> None:
    frame = imagecodecs.jpegls_encode(chest())
    with pytest.raises(UnreadableImage, match="declares jpeg or jpeg-lossless pixels, but holds jpeg-ls"):
        read_dicom(with_frame(film(chest()), uid.JPEGLosslessSV1, frame))
    with pytest.raises(UnreadableImage, match="but holds nothing that is known"):
        read_dicom(with_frame(film(chest()), uid.JPEGLosslessSV1, b"no stream at all"))


@pytest.mark.parametrize("name", [name for name in ENCODINGS if "J" in name])
def test_the_size_of_a_code_stream_is_read_without_decoding(name: str) -> None:
    stored, content = ENCODINGS[name].film()
    stream = read_code_stream(_frame(content))
    assert stream is not None
    assert (stream.rows, stream.columns, stream.components) == (*stored.shape, 1)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if "J" in name])
def test_comments_are_taken_out_and_the_pixels_stay(name: str) -> None:
    _, content = ENCODINGS[name].film()
    frame = _frame(content)
    comment = b"Zwetschgenmann was here"
    if frame.startswith(b"\xff\xd8"):
        spoiled = b"\xff\xd8\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + frame[2:]
        spoiled = spoiled.rstrip(b"\0") + comment
    else:
        at = 4 + int.from_bytes(frame[4:6], "big")  # behind SIZ, which must come first
        segment = b"\xff\x64" + (len(comment) + 4).to_bytes(2, "big") + b"\0\1" + comment
        spoiled = frame[:at] + segment + frame[at:].rstrip(b"\0") + comment
    clean = without_comments(spoiled)
    assert clean is not None
    assert comment in spoiled and comment not in clean
    assert len(clean) % 2 == 0

    def values(stream: bytes) -> bytes:
        dataset = dcmread(io.BytesIO(content))
        return read_dicom(with_frame(dataset, dataset.file_meta.TransferSyntaxUID, stream)).pixels.tobytes()

    assert values(clean) == values(frame)


def test_comments_that_cannot_be_cut_out_are_noticed() -> None:
    comment = b"\xff\xfe\x00\x06name"
    jpeg = _frame(ENCODINGS["JPEG lossless"].film()[1])
    end = jpeg.rindex(b"\xff\xd9")
    assert without_comments(jpeg[:end] + comment + jpeg[end:]) is None
    wavelet = _frame(ENCODINGS["JPEG 2000 lossless"].film()[1])
    at = wavelet.index(b"\xff\x93")
    assert without_comments(wavelet[:at] + b"\xff\x64\x00\x08\x00\x01name" + wavelet[at:]) is None
    assert without_comments(b"no stream") is None
    assert without_comments(wavelet[:60]) is None


def test_headers_of_other_makers_are_understood() -> None:
    for name in ("MR_small_jp2klossless", "MR_small_RLE", "MR_small_jpeg_ls_lossless", "MR_small_bigendian"):
        path = get_testdata_file(f"{name}.dcm", download=False)
        with pytest.raises(UnreadableImage, match="sop-class"):
            read_dicom(Path(str(path)))


def _frame(content: bytes) -> bytes:
    return get_frame(dcmread(io.BytesIO(content)).PixelData, 0, number_of_frames=1)
