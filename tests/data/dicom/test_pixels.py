"""Grey values: against dcmtk for every variant, against the formulas of the standard, and every liberty reported."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxray.data.dicom import read_dicom
from cxray.errors import UnreadableImage
from tests.data.dicom.films import bytes_of, chest, dcmtk_grey, film, grey_of, look_up_table, save
from tests.data.dicom.matrix import MATRIX, variant_film


@pytest.mark.parametrize("name", MATRIX)
def test_every_variant_is_shown_as_dcmtk_shows_it(name: str, tmp_path: Path) -> None:
    path = save(variant_film(name), tmp_path / "film.dcm")
    ours, theirs = grey_of(read_dicom(path).pixels), dcmtk_grey(path, *MATRIX[name][1][3])
    assert theirs.std() > 20, "a flat picture would compare well with anything"
    assert np.abs(ours - theirs).max() <= 1


def test_the_real_chest_film_is_shown_as_dcmtk_shows_it(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "dicom" / "RG1_J2KI.dcm"
    if not source.is_file():
        pytest.skip("the real chest film is not at hand")
    import pydicom

    ours = read_dicom(source)
    assert (ours.stored_height, ours.stored_width, ours.bits) == (1955, 1841, 15)
    assert ours.facts == ("window 15000 / 30000 LINEAR applied", "MONOCHROME1 inverted")
    dataset = pydicom.dcmread(source)
    dataset.decompress()  # this dcmtk reads no JPEG 2000
    path = save(dataset, tmp_path / "plain.dcm")
    assert np.abs(grey_of(ours.pixels) - dcmtk_grey(path)).max() <= 1


STORED = chest()


def grey(**elements: Any) -> np.ndarray[Any, Any]:
    return read_dicom(bytes_of(film(STORED, **elements))).pixels


def test_without_window_the_declared_range_is_black_to_white_whatever_the_film_holds() -> None:
    np.testing.assert_allclose(grey(), STORED / 4095, atol=1e-6)
    assert read_dicom(bytes_of(film(STORED // 4))).pixels.max() < 0.26


def test_the_window_follows_the_formula_of_the_standard() -> None:
    centre, width = 2000, 600
    expected = np.clip((STORED - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    np.testing.assert_allclose(grey(WindowCenter=str(centre), WindowWidth=str(width)), expected, atol=1e-6)


def test_a_window_one_wide_is_a_step() -> None:
    found = grey(WindowCenter="2000", WindowWidth="1")
    np.testing.assert_array_equal(found, (STORED > 1999.5).astype(np.float32))


@pytest.mark.parametrize("shape", [None, "INVERSE", "IDENTITY"])
def test_monochrome1_is_inverted_exactly_once(shape: str | None) -> None:
    found = grey(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape=shape)
    np.testing.assert_allclose(found, 1 - STORED / 4095, atol=1e-6)


def test_lower_case_polarity_is_understood() -> None:
    np.testing.assert_allclose(grey(PhotometricInterpretation="monochrome1"), 1 - STORED / 4095, atol=1e-6)


@pytest.mark.parametrize(("polarity", "shape"), [("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")])
def test_a_shape_that_contradicts_the_polarity_is_ignored_and_said(polarity: str, shape: str) -> None:
    image = read_dicom(bytes_of(film(STORED, PhotometricInterpretation=polarity, PresentationLUTShape=shape)))
    expected = STORED / 4095 if polarity == "MONOCHROME2" else 1 - STORED / 4095
    np.testing.assert_allclose(image.pixels, expected, atol=1e-6)
    assert f"PresentationLUTShape {shape} ignored, because the film is {polarity}" in image.facts


def test_a_voi_table_goes_before_a_window_and_its_own_range_is_declared() -> None:
    entries = np.arange(4096)[::-1] * 16
    found = grey(VOILUTSequence=look_up_table(0, entries, 16), WindowCenter="10", WindowWidth="2")
    np.testing.assert_allclose(found, (4095 - STORED.astype(float)) * 16 / 65535, atol=1e-6)


def test_a_voi_table_of_eight_bits_does_not_wrap_around() -> None:
    entries = np.linspace(0, 255, 4096).astype(np.uint16)
    found = grey(VOILUTSequence=look_up_table(0, entries, 8))
    np.testing.assert_allclose(found, entries[STORED] / 255, atol=1e-6)


def test_packed_eight_bit_tables_are_unpacked() -> None:
    entries = np.linspace(0, 255, 4096).astype(np.uint8)
    sequence = look_up_table(0, np.zeros(4096), 8)
    sequence[0].LUTData = entries.tobytes()
    found = grey(VOILUTSequence=sequence)
    np.testing.assert_allclose(found, entries[STORED] / 255, atol=1e-6)


def test_a_rescaled_range_ends_at_its_own_white() -> None:
    np.testing.assert_allclose(grey(RescaleSlope="16", RescaleIntercept="-1000"), STORED / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("elements", "fact"),
    [
        ({"WindowCenter": "2000", "WindowWidth": "0"}, "window width 0 ignored, full range used"),
        ({"WindowCenter": "2000", "WindowWidth": "-5"}, "window width -5 ignored, full range used"),
        ({"WindowCenter": "2000", "WindowWidth": "0.9"}, "window width 0.9 ignored, full range used"),
        ({"WindowCenter": "2000"}, "incomplete window ignored, full range used"),
        ({"RescaleSlope": "", "RescaleIntercept": "5"}, "rescale slope or intercept without the other ignored"),
        ({"VOILUTSequence": look_up_table(0, np.arange(100), 16)[:0]}, None),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_left_out_and_said(elements: dict[str, Any], fact: str | None) -> None:
    image = read_dicom(bytes_of(film(STORED, **elements)))
    np.testing.assert_allclose(image.pixels, STORED / 4095, atol=1e-6)
    assert image.facts == (() if fact is None else (fact,))


def test_an_unknown_window_function_is_taken_as_linear_and_said() -> None:
    image = read_dicom(bytes_of(film(STORED, WindowCenter="2000", WindowWidth="600", VOILUTFunction="CUBIC")))
    np.testing.assert_array_equal(image.pixels, grey(WindowCenter="2000", WindowWidth="600"))
    assert "unknown VOI LUT function taken as LINEAR" in image.facts


def test_numbers_that_are_none_do_not_cost_the_film() -> None:
    content = bytes_of(film(STORED, WindowCenter="2000", WindowWidth="600")).replace(b"2000", b"abcd")
    image = read_dicom(content)
    np.testing.assert_allclose(image.pixels, STORED / 4095, atol=1e-6)
    assert image.facts == ("incomplete window ignored, full range used",)


def test_a_damaged_table_is_left_out_and_the_window_used() -> None:
    sequence = look_up_table(0, np.arange(4096), 12)
    sequence[0].LUTData = bytes(20)
    image = read_dicom(bytes_of(film(STORED, VOILUTSequence=sequence, WindowCenter="2000", WindowWidth="600")))
    np.testing.assert_array_equal(image.pixels, grey(WindowCenter="2000", WindowWidth="600"))
    assert "damaged VOILUTSequence ignored" in image.facts


def test_a_slope_of_zero_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="the upload declares a rescale slope of 0"):
        grey(RescaleSlope="0", RescaleIntercept="5")


def test_bits_above_those_stored_are_cut_off() -> None:
    dirty = STORED | np.uint16(0x8000)
    image = read_dicom(bytes_of(film(dirty)))
    np.testing.assert_allclose(image.pixels, STORED / 4095, atol=1e-6)
    assert "bits above BitsStored cut off" in image.facts


def test_left_aligned_samples_are_shifted_down() -> None:
    image = read_dicom(bytes_of(film(STORED << 4, HighBit=15)))
    np.testing.assert_allclose(image.pixels, STORED / 4095, atol=1e-6)
    assert "stored bits begin at bit 4" in image.facts


def test_padding_is_black_also_where_it_would_turn_white() -> None:
    padded = STORED.copy()
    padded[:40] = 0
    image = read_dicom(bytes_of(film(padded, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)))
    assert image.pixels[:40].max() == 0
    assert any(fact.startswith("padding made black, 16.") for fact in image.facts)


def test_signed_padding_is_found() -> None:
    signed = (STORED.astype(np.int16) - np.int16(2048)).copy()
    signed[:40] = -2048
    dataset = film(signed, PhotometricInterpretation="MONOCHROME1")
    dataset.add_new(0x00280120, "SS", -2048)
    image = read_dicom(bytes_of(dataset))
    assert image.pixels[:40].max() == 0


def test_padding_over_the_whole_film_is_not_believed() -> None:
    image = read_dicom(
        bytes_of(film(np.zeros_like(STORED), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0))
    )
    assert image.pixels.min() == 1
    assert "padding over 100% of the film ignored" in image.facts


def test_a_rectangular_shutter_hides_what_lies_outside() -> None:
    edges = {"Left": 10, "Right": 211, "Upper": 20, "Lower": 221}
    names = {"Left": "LeftVertical", "Right": "RightVertical", "Upper": "UpperHorizontal", "Lower": "LowerHorizontal"}
    elements = {f"Shutter{names[side]}Edge": edge for side, edge in edges.items()}
    found = grey(ShutterShape="RECTANGULAR", **elements)
    inside = np.zeros(STORED.shape, dtype=bool)
    inside[20:220, 10:210] = True
    assert found[~inside].max() == 0
    np.testing.assert_allclose(found[inside], STORED[inside] / 4095, atol=1e-6)


def test_circular_and_polygonal_shutters_hide_what_lies_outside() -> None:
    circle = grey(ShutterShape="CIRCULAR", CenterOfCircularShutter=[120, 110], RadiusOfCircularShutter=100)
    assert (circle > 0).mean() == pytest.approx(math.pi * 100**2 / STORED.size, abs=0.01)
    vertices = [1, 1, 1, 220, 240, 220]  # row, column: the half above the diagonal
    half = grey(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=vertices)
    assert (half > 0).mean() == pytest.approx(0.5, abs=0.01)
    assert half[200, 10] == 0
    assert half[10, 200] > 0


def test_an_incomplete_shutter_hides_nothing() -> None:
    np.testing.assert_allclose(grey(ShutterShape="RECTANGULAR"), STORED / 4095, atol=1e-6)


def test_the_image_says_its_size_and_depth_and_can_be_used() -> None:
    image = read_dicom(bytes_of(film(STORED)))
    assert (image.stored_height, image.stored_width, image.bits) == (240, 220, 12)
    assert image.pixels.flags.c_contiguous and image.pixels.dtype == np.float32
    assert image.facts == ()
