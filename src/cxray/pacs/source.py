"""The film that a result is about: its header made fit for referring to, and the loop guard.

Films from the field miss attributes that the standard requires and carry values that it forbids (an empty window, a
spacing of zero). Results must be valid all the same, so they are built from a repaired copy of the header, and what
identifies patient and study is copied from the original, value for value.
"""

from __future__ import annotations

import copy
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement

from cxray.data.dicom import OWN_MANUFACTURER
from cxray.errors import UnreadableImage
from cxray.pacs.uids import is_uid

# Patient, General Study and Patient Study modules (PS3.3, C.7.1.1, C.7.2.1, C.7.2.2) as far as they identify.
COPIED = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# Type 2: must be there, may be empty (PS3.5, 7.4.3).
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_IDENTIFIERS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")
# General, acquisition, relationship and image presentation groups; patient (0010), private and later groups stay out.
_GROUPS = (0x0008, 0x0018, 0x0020, 0x0028)
_WINDOW = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def is_own_output(film: Dataset) -> bool:
    """Whether this object was written by this software: the guard against assessing one's own results."""
    return str(film.get("Manufacturer", "") or "").strip().casefold() == OWN_MANUFACTURER


def check_identifiers(film: Dataset) -> None:
    """Refuse a film that no result could refer to.

    Raises:
        UnreadableImage: a UID is missing or breaks the grammar of the standard.
    """
    for name in _IDENTIFIERS:
        if not is_uid(str(film.get(name, "") or "")):
            raise UnreadableImage(f"The film has no valid {name}, so no result can refer to it.")


def referable(film: Dataset) -> Dataset:
    """A copy of the header without pixels, patient and private attributes, valid as far as results depend on it.

    Type 2 attributes of patient and study are there and empty; display values that the standard forbids are left out.
    """
    header = Dataset()
    for element in film:
        if element.tag.group in _GROUPS:
            header.add(copy.deepcopy(element))
    # Libraries warn about names and dates by printing them; they get none, and `copy_identity` puts them back.
    for name in _MAY_BE_EMPTY:
        setattr(header, name, "")
    header.SamplesPerPixel = header.get("SamplesPerPixel") or 1
    _repair_display(header)
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if name in header and not _is_positive(header[name]):
            del header[name]
    return header


def copy_identity(result: Dataset, film: Dataset) -> None:
    """Let `result` say about patient and study exactly what `film` says; Type 2 attributes stay, empty."""
    for name in COPIED:
        if name in film:
            result[name] = copy.deepcopy(film[name])
        elif name in _MAY_BE_EMPTY:
            result[name] = DataElement(name, dictionary_VR(name), "")
        elif name in result:
            del result[name]


def _repair_display(header: Dataset) -> None:
    if "PhotometricInterpretation" in header:
        header.PhotometricInterpretation = str(header.PhotometricInterpretation or "").strip().upper()
    if str(header.get("VOILUTFunction", "LINEAR") or "") not in _FUNCTIONS:
        del header.VOILUTFunction
    _repair_window(header)
    _repair_rescale(header)


def _repair_window(header: Dataset) -> None:
    centres, widths = _numbers(header, "WindowCenter"), _numbers(header, "WindowWidth")
    if not centres or len(centres) != len(widths) or min(widths) < 1:
        _remove(header, *_WINDOW)
        return
    explanations = header.get("WindowCenterWidthExplanation", None)
    given = [explanations] if isinstance(explanations, str) else list(explanations or ())
    if len(given) != len(centres):
        _remove(header, "WindowCenterWidthExplanation")


def _repair_rescale(header: Dataset) -> None:
    slope, intercept = _numbers(header, "RescaleSlope"), _numbers(header, "RescaleIntercept")
    if not slope or not intercept or slope[0] == 0:
        _remove(header, "RescaleSlope", "RescaleIntercept", "RescaleType")
    elif not header.get("RescaleType"):
        header.RescaleType = "US"


def _remove(header: Dataset, *names: str) -> None:
    for name in names:
        if name in header:
            del header[name]


def _numbers(header: Dataset, name: str) -> list[float]:
    try:
        value: Any = header.get(name, None)
        if value is None or value == "":
            return []
        values = [value] if not hasattr(value, "__iter__") or isinstance(value, str) else list(value)
        return [float(number) for number in values]
    except (TypeError, ValueError):
        return []


def _is_positive(element: DataElement) -> bool:
    try:
        return all(float(value) > 0 for value in element.value)
    except (TypeError, ValueError):
        return False
