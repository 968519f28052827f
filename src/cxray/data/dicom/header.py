"""What cxray knows of a DICOM film besides its pixels: one frozen value, without the patient unless asked for.

`headers` is for whoever needs to know which film this is (intake, results, the PACS); it reads no pixels. Values are
as stored, with padding removed; what is absent or malformed is "", 0 or None.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from cxray.data.dicom.source import decimals, integer, items, open_dicom, text

# Every object that cxray writes carries this in Manufacturer, so that no result is ever taken for a film.
OWN_MANUFACTURER = "cxray"
_PATIENT = {
    "name": "PatientName",
    "identifier": "PatientID",
    "issuer": "IssuerOfPatientID",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "accession_number": "AccessionNumber",
    "referring_physician": "ReferringPhysicianName",
    "character_set": "SpecificCharacterSet",
}
_TEXTS = {
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "view_position": "ViewPosition",
    "patient_orientation": "PatientOrientation",
    "presentation_intent": "PresentationIntentType",
    "photometric_interpretation": "PhotometricInterpretation",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "burned_in_annotation": "BurnedInAnnotation",
    "patient_identity_removed": "PatientIdentityRemoved",
}
_FURTHER = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "ImageLaterality",
    "Laterality", "PixelSpacing", "ImagerPixelSpacing", "ViewCodeSequence", "AnatomicRegionSequence",
)  # fmt: skip
KEYWORDS = (*_TEXTS.values(), *_FURTHER)


@dataclasses.dataclass(frozen=True, slots=True)
class PatientModule:
    """The patient and study in clear text, as results must carry them; never to be logged."""

    name: str
    identifier: str
    issuer: str
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    study_id: str
    accession_number: str
    referring_physician: str
    character_set: str


@dataclasses.dataclass(frozen=True, slots=True)
class FilmHeader:
    """One film's header.

    `view_codes` and `region_codes` are pairs (code value, scheme). `pixel_spacing_mm` is (between rows, between
    columns), from PixelSpacing, else ImagerPixelSpacing; None when absent or zero. `laterality` is "L", "R", "B", "U"
    or "". Codes and orientations are in upper case.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    body_part: str
    view_position: str
    view_codes: tuple[tuple[str, str], ...]
    region_codes: tuple[tuple[str, str], ...]
    laterality: str
    patient_orientation: str
    presentation_intent: str
    photometric_interpretation: str
    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    pixel_spacing_mm: tuple[float, float] | None
    manufacturer: str
    model: str
    burned_in_annotation: str
    patient_identity_removed: str
    patient: PatientModule | None = None


def headers(source: Path | bytes, *, with_patient: bool = False, name: str = "") -> FilmHeader:
    """Read the header of a film; `with_patient` keeps the patient and study in clear text.

    Raises:
        UnreadableImage: missing, or no DICOM file.
        MissingExtra: the extra `dicom` is not installed.
    """
    called = name or (str(source) if isinstance(source, Path) else "the upload")
    keywords = (*KEYWORDS, *_PATIENT.values()) if with_patient else KEYWORDS
    return read_header(open_dicom(source, name=called, keywords=keywords), with_patient=with_patient)


def read_header(dataset: Any, *, with_patient: bool = False) -> FilmHeader:
    """The header of a data set that `open_dicom` read."""
    texts = {field: text(dataset, keyword) for field, keyword in _TEXTS.items()}
    upper = ("modality", "body_part", "view_position", "patient_orientation", "presentation_intent",
             "photometric_interpretation", "burned_in_annotation", "patient_identity_removed")  # fmt: skip
    texts |= {field: texts[field].upper() for field in upper}
    return FilmHeader(
        **texts,
        transfer_syntax_uid=text(getattr(dataset, "file_meta", None) or {}, "TransferSyntaxUID"),
        view_codes=_codes(dataset, "ViewCodeSequence"),
        region_codes=_codes(dataset, "AnatomicRegionSequence"),
        laterality=(text(dataset, "ImageLaterality") or text(dataset, "Laterality")).upper(),
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        frames=integer(dataset, "NumberOfFrames", 1),
        samples=integer(dataset, "SamplesPerPixel", 1),
        bits_allocated=integer(dataset, "BitsAllocated"),
        bits_stored=integer(dataset, "BitsStored", integer(dataset, "BitsAllocated")),
        pixel_spacing_mm=_spacing(dataset),
        patient=_patient(dataset) if with_patient else None,
    )


def _patient(dataset: Any) -> PatientModule:
    return PatientModule(**{field: text(dataset, keyword) for field, keyword in _PATIENT.items()})


def _codes(dataset: Any, keyword: str) -> tuple[tuple[str, str], ...]:
    pairs = ((text(item, "CodeValue"), text(item, "CodingSchemeDesignator")) for item in items(dataset, keyword))
    return tuple((code.upper(), scheme.upper()) for code, scheme in pairs if code)


def _spacing(dataset: Any) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = decimals(dataset, keyword)
        # Zero spacing exists in real films and would make every measurement of a result infinite or zero.
        if len(spacing) == 2 and min(spacing) > 0:
            return spacing[0], spacing[1]
    return None


def own_result(manufacturer: str, model: str) -> bool:
    """Whether an object of this manufacturer and model was written by cxray itself."""
    return OWN_MANUFACTURER in (manufacturer.casefold(), model.casefold())
