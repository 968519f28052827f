"""What may be judged: each rule, its edge, its code, and what can be waived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxray.data.decode import decode_bytes
from cxray.data.dicom import headers, read_dicom
from cxray.data.dicom.admission import RULES, SECONDARY_CAPTURES
from cxray.errors import ConfigError, RefusedFilm
from tests.data.dicom.films import CR, bytes_of, chest, film

PIXELS = chest()


def code(value: str, scheme: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "meaning"
    return Sequence([item])


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("own-result", {"Manufacturer": "cxray"}),
    ("own-result", {"ManufacturerModelName": "cxray"}),
    ("sop-class", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}),
    ("sop-class", {"SOPClassUID": None}),
    ("secondary-capture", {"SOPClassUID": SECONDARY_CAPTURES[0]}),
    ("for-processing", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}),
    ("for-processing", {"PresentationIntentType": "FOR PROCESSING"}),
    ("modality", {"Modality": "CT"}),
    ("modality", {"Modality": None}),
    ("body-part", {"BodyPartExamined": "EXTREMITY"}),
    ("body-part", {"BodyPartExamined": "CHESTABDPELVIS"}),
    ("body-part", {"BodyPartExamined": "", "AnatomicRegionSequence": code("T-D4000", "SRT")}),
    ("lateral-view", {"ViewPosition": "LL"}),
    ("lateral-view", {"ViewPosition": "lateral"}),
    ("lateral-view", {"ViewPosition": "", "ViewCodeSequence": code("R-10236", "SRT")}),
    ("lateral-view", {"PatientOrientation": ["A", "F"]}),
    ("orientation", {"PatientOrientation": ["R", "F"]}),
    ("orientation", {"PatientOrientation": ["F", "R"]}),
    ("orientation", {"PatientOrientation": ["L", "H"]}),
    ("frames", {"NumberOfFrames": 2}),
    ("colour", {"PhotometricInterpretation": "PALETTE COLOR"}),
    ("colour", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}),
    ("too-large", {"Rows": 8001}),
    ("too-large", {"Rows": 65535, "Columns": 65535}),
    ("too-small", {"Rows": 199}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "elements"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_must_not_be_judged_is_refused_with_its_code(reason: str, elements: dict[str, Any]) -> None:
    with pytest.raises(RefusedFilm, match=rf"^the upload is refused \({reason}\): ") as refused:
        read_dicom(bytes_of(_film(elements)))
    assert refused.value.reason == reason
    assert refused.value.http_status == 422


def _film(elements: dict[str, Any]) -> Any:
    dataset = film(PIXELS)
    meta_class = dataset.file_meta.MediaStorageSOPClassUID
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = meta_class
    return dataset


@pytest.mark.parametrize(
    "elements",
    [
        {"SOPClassUID": CR, "Modality": "CR", "PresentationIntentType": ""},
        {"BodyPartExamined": ""},
        {"BodyPartExamined": "thorax"},
        {"BodyPartExamined": "PORT CHEST"},
        {"BodyPartExamined": "", "AnatomicRegionSequence": code("51185008", "SCT")},
        {"ViewPosition": ""},
        {"ViewPosition": "AP"},
        {"ViewPosition": "", "ViewCodeSequence": code("R-10214", "SRT")},
        {"PatientOrientation": ""},
        {"PatientOrientation": ["L", "F"]},
        {"PatientOrientation": ["LF", "FR"]},
        {"NumberOfFrames": 1},
    ],
    ids=str,
)
def test_frontal_chest_films_pass_also_with_little_said(elements: dict[str, Any]) -> None:
    assert read_dicom(bytes_of(_film(elements))).facts == ()


def test_the_smallest_film_that_passes() -> None:
    assert read_dicom(bytes_of(film(chest(200, 200)))).stored_height == 200


def test_known_codes_can_be_waived_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes_of(_film({"SOPClassUID": SECONDARY_CAPTURES[0], "ViewPosition": "LL"}))
    image = read_dicom(content, accept=["secondary-capture", "lateral-view"])
    assert image.facts == ("accepted although secondary-capture", "accepted although lateral-view")
    with pytest.raises(RefusedFilm, match=r"lateral-view.*CXRAY_DICOM_ACCEPT=lateral-view"):
        read_dicom(content, accept=["secondary-capture"])
    monkeypatch.setenv("CXRAY_DICOM_ACCEPT", "secondary-capture, lateral-view")
    assert decode_bytes(content).facts == image.facts


@pytest.mark.parametrize("codes", [["frames"], ["own-result"], ["latteral-view"]])
def test_codes_that_cannot_be_waived_are_refused(codes: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"'{codes[0]}' is no reason that can be waived. Possible codes: body-part,"):
        read_dicom(bytes_of(film(PIXELS)), accept=codes)


def test_messages_repeat_no_words_of_the_header_that_might_be_a_name() -> None:
    for keyword in ("BodyPartExamined", "Modality", "PhotometricInterpretation"):
        with pytest.raises(RefusedFilm) as refused:
            read_dicom(bytes_of(_film({keyword: "ZWETSCHGENMANN"})))
        assert "ZWETSCHGE" not in str(refused.value)


def test_every_code_is_unique_and_a_word() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("-", "").isalpha() and code.islower() for code in codes)


def test_lateral_spine_films_of_a_real_disc_are_refused() -> None:
    path = get_testdata_file("dicomdirtests/77654033/CR1/6154", download=False)
    if path is None:
        pytest.skip("this pydicom brings no CR1")
    with pytest.raises(RefusedFilm) as refused:
        read_dicom(Path(str(path)))
    assert refused.value.reason in ("body-part", "lateral-view")


def test_a_burned_in_annotation_is_said() -> None:
    assert "burned-in annotation declared" in read_dicom(bytes_of(film(PIXELS, BurnedInAnnotation="YES"))).facts


def test_headers_give_what_results_need_and_no_patient_unless_asked() -> None:
    content = bytes_of(
        film(PIXELS, patient="P7", PixelSpacing=[0, 0], ImageLaterality="L", ImagerPixelSpacing=[0.1, 0.2])
    )
    header = headers(content)
    assert (header.rows, header.columns, header.bits_stored, header.laterality) == (240, 220, 12, "L")
    assert header.pixel_spacing_mm == (0.1, 0.2), "zero spacing is none"
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert header.patient is None and "P7" not in str(header)
    known = headers(content, with_patient=True).patient
    assert known is not None
    assert (known.identifier, known.name, known.birth_date, known.sex) == ("P7", "Name^P7", "19600101", "O")


def test_headers_survive_nonsense() -> None:
    dataset = film(PIXELS)
    content = bytes_of(dataset).replace(b"FOR PRESENTATION", b"\xff\xfe\x00garbage!!!!!!!"[:16])
    assert headers(content).rows == 240
    assert np.isfinite(headers(content).bits_stored)
