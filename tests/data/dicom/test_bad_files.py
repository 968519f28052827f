"""Files that are cut off, contradict themselves, lie, bomb, or crash decoders: a sentence each, and never a crash."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid

from cxray.data.decode import decode_bytes, decode_file
from cxray.data.dicom import headers, library, read_dicom, source
from cxray.data.intake import read_inputs
from cxray.errors import ConfigError, MissingExtra, RefusedFilm, UnreadableImage, UsageError
from tests.data.dicom.corruption import CASES_PER_ENCODING, outcomes_of_corruptions
from tests.data.dicom.encodings import ENCODINGS, with_frame
from tests.data.dicom.films import bytes_of, chest, film

WHOLE = bytes_of(film(chest()))


@pytest.mark.parametrize("length", [0, 1, 131, 132, 140, 200, 400, 700, 1000])
def test_a_file_cut_off_in_its_header_is_refused(length: int) -> None:
    with pytest.raises(UnreadableImage, match="the upload"):
        decode_bytes(WHOLE[:length], name="the upload")


def test_truncated_pixels_are_refused_with_both_counts() -> None:
    with pytest.raises(UnreadableImage, match=r"cut off: 105600 bytes of pixels were expected, \d+ are there"):
        read_dicom(WHOLE[:-1000])


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_a_film_of_any_encoding_that_is_cut_off_is_called_so(name: str) -> None:
    content = ENCODINGS[name].film()[1]
    for length in (len(content) // 2, len(content) - 100):
        with pytest.raises(UnreadableImage) as refused:
            read_dicom(content[:length])
        assert not isinstance(refused.value, RefusedFilm), refused.value


def test_bytes_behind_the_pixels_are_ignored_and_said() -> None:
    dataset = film(chest())
    dataset.PixelData += bytes(100)
    assert read_dicom(bytes_of(dataset)).facts == ("100 bytes behind the pixels ignored",)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"BitsStored": 17}, "contradicts itself: 220 x 240 pixels of 17 bits"),
        ({"BitsAllocated": 32}, "contradicts itself"),
        ({"BitsAllocated": 12}, "contradicts itself"),
        ({"BitsStored": 0, "HighBit": 0}, "contradicts itself"),
        ({"HighBit": 5}, "contradicts itself"),
        ({"HighBit": 16}, "contradicts itself"),
        ({"PixelData": None}, "holds no pixel data"),
    ],
    ids=str,
)
def test_contradictions_are_refused(elements: dict[str, Any], message: str) -> None:
    with pytest.raises(UnreadableImage, match=message):
        read_dicom(bytes_of(film(chest(), **elements)))


def test_a_film_without_depth_or_size_is_refused() -> None:
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        with pytest.raises(UnreadableImage):
            read_dicom(bytes_of(film(chest(), **{keyword: None})))


def test_what_is_called_dicom_but_is_not(tmp_path: Path) -> None:
    fake = tmp_path / "film.dcm"
    fake.write_bytes(b"\x00" * 500)
    with pytest.raises(UnreadableImage, match="film.dcm is no film: its content is of no known kind"):
        decode_file(fake)
    with pytest.raises(UnreadableImage, match="the letters DICM are missing at byte 128"):
        headers(fake)
    with pytest.raises(UnreadableImage, match="cannot be read: No such file"):
        headers(tmp_path / "none.dcm")


def test_a_bare_data_set_is_known_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(WHOLE[WHOLE.index(b"\x08\x00\x05\x00") :])
    (tmp_path / "older").write_bytes(WHOLE[132:])
    assert len(read_inputs([tmp_path]).records) == 2
    for name in ("old", "older"):
        with pytest.raises(UnreadableImage, match="DICOM without its preamble, which dcmtk's dcmconv adds"):
            decode_file(tmp_path / name)


def test_a_misspelt_waiver_stops_the_work_and_names_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRAY_DICOM_ACCEPT", "latteral-view")
    with pytest.raises(ConfigError, match="'latteral-view' is no reason that can be waived"):
        decode_bytes(WHOLE)


def test_a_tiff_in_the_preamble_does_not_hide_the_dicom_film() -> None:
    assert decode_bytes(b"II*\x00" + WHOLE[4:]).bits == 12


def test_a_deflate_bomb_is_refused_without_being_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAXIMUM_INFLATED_BYTES", 1_000_000)
    squeeze = zlib.compressobj(wbits=-15)
    bomb = _deflated(squeeze.compress(bytes(40_000_000)) + squeeze.flush())
    assert len(bomb) < 60_000
    with pytest.raises(UnreadableImage, match="inflates to more than 0 MiB"):
        read_dicom(bomb)


def test_a_deflated_film_that_is_cut_off_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="its deflated data end too early"):
        read_dicom(ENCODINGS["deflated"].film()[1][:-3000])


def _deflated(body: bytes) -> bytes:
    syntax = str(uid.DeflatedExplicitVRLittleEndian).encode()
    return bytes(128) + b"DICM\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax + body


def test_deeply_nested_sequences_are_refused_not_a_crash() -> None:
    # 3000 open sequences of undefined length, 20 bytes each.
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(UnreadableImage):
        read_dicom(WHOLE[:132] + WHOLE[132:330] + item * 3000)


def test_huge_claims_fail_fast() -> None:
    for elements in ({"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 2_000_000_000}):
        with pytest.raises(UnreadableImage):
            read_dicom(bytes_of(film(chest(), **elements)))


def test_empty_and_missing_frames_are_refused() -> None:
    with pytest.raises(UnreadableImage):
        read_dicom(with_frame(film(chest()), uid.JPEGLSLossless, b"\0\0"))
    content = ENCODINGS["JPEG-LS"].film()[1]
    start = content.index(b"\xff\xd8\xff")
    with pytest.raises(UnreadableImage):
        read_dicom(content[: start + 40])


def test_an_element_that_cannot_be_understood_costs_only_itself() -> None:
    broken = bytes_of(film(chest(), PixelSpacing=["0.25", "0.25"])).replace(b"0.25", b"\xff\xfe\0x")
    assert broken != bytes_of(film(chest()))
    assert read_dicom(broken).bits == 12
    assert headers(broken).pixel_spacing_mm == (0.2, 0.2), "the next best spacing is taken"


def test_without_the_extra_the_film_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingExtra("Reading DICOM needs pydicom>=3.0.2, which cannot be imported here.", "Install it.")

    monkeypatch.setattr(source.library, "load", missing)
    with pytest.raises(UnreadableImage, match=r"film.dcm is DICOM. Reading DICOM needs pydicom.* Install it"):
        decode_bytes(WHOLE, name="film.dcm")


def test_a_decoder_that_strangers_can_crash_is_refused_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    library.refuse_unsafe_decoders()  # none is installed here
    monkeypatch.setattr(library.extras, "is_available", lambda module: module == "gdcm")
    with pytest.raises(UsageError, match="python-gdcm can be imported here"):
        library.refuse_unsafe_decoders()
    monkeypatch.setenv("CXRAY_ALLOW_UNSAFE_DECODERS", "1")
    library.refuse_unsafe_decoders()


def test_corrupted_files_never_crash_the_process_or_give_another_shape() -> None:
    outcomes = outcomes_of_corruptions(list(ENCODINGS), range(CASES_PER_ENCODING))
    for name, outcome in outcomes.items():
        assert outcome.crashed == [], name
        assert outcome.wrong == [], name
        assert outcome.decoded + outcome.refused == CASES_PER_ENCODING
    assert sum(outcome.refused for outcome in outcomes.values()) > 20, "the damage must be felt"


def test_importing_the_data_rooms_imports_no_dicom_library() -> None:
    script = "import sys, cxray.data.decode, cxray.data.intake, cxray.data.dicom\n"
    script += "print(sorted({'pydicom', 'imagecodecs'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_reading_leaves_the_source_as_it_is() -> None:
    before = bytes(WHOLE)
    first, second = read_dicom(WHOLE), read_dicom(WHOLE)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert before == WHOLE
