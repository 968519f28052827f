"""What a de-identified film may keep: an allow-list for CR and DX images, each element with a check of its value.

Everything that is not listed goes, at every depth, private elements included; DICOM PS3.15 Table E.1-1 lists more
than 600 elements that must, and new ones every year, so a list of what may stay is the safer way round. Values are
checked too: a name typed into a field for codes is not a code. Elements that the image objects require but that name
somebody are left empty (PS3.15, E.2, action Z).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from cxray.data.dicom.source import decimals, text

# PS3.15, E.1.1 and CID 7050: what was done, as codes of the DICOM scheme.
METHODS = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "characteristics": ("113108", "Retain Patient Characteristics Option"),
}

# Words that a coded element may hold; any other value is dropped.
WORDS: dict[str, frozenset[str]] = {
    "Modality": frozenset({"CR", "DX"}),
    "PresentationIntentType": frozenset({"FOR PRESENTATION", "FOR PROCESSING"}),
    "ImageType": frozenset({"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", ""}),
    "PhotometricInterpretation": frozenset({"MONOCHROME1", "MONOCHROME2"}),
    "PixelIntensityRelationship": frozenset({"LIN", "LOG"}),
    "RescaleType": frozenset({"US", "OD", "HU"}),
    "VOILUTFunction": frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"}),
    "PresentationLUTShape": frozenset({"IDENTITY", "INVERSE"}),
    "ModalityLUTType": frozenset({"US", "OD", "HU"}),
    "LossyImageCompression": frozenset({"00", "01"}),
    "LossyImageCompressionMethod": frozenset(
        {"ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_13818_2", "ISO_15444_15"}
    ),
    "BurnedInAnnotation": frozenset({"NO"}),
    "QualityControlImage": frozenset({"YES", "NO", "BOTH"}),
    "ImageLaterality": frozenset({"L", "R", "B", "U"}),
    "Laterality": frozenset({"L", "R"}),
    "PatientOrientation": frozenset({"L", "R", "A", "P", "H", "F", "LF", "RF", "LH", "RH", "AF", "PF", "FL", "FR"}),
    "ViewPosition": frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "LLO", "RLO", "LATERAL", ""}),
    "BodyPartExamined": frozenset(
        [
            "CHEST",
            "THORAX",
            "LUNG",
            "RIB",
            "CLAVICLE",
            "STERNUM",
            "SHOULDER",
            "ABDOMEN",
            "PELVIS",
            "SPINE",
            "CSPINE",
            "TSPINE",
            "LSPINE",
            "SSPINE",
            "HEAD",
            "SKULL",
            "NECK",
            "ARM",
            "ELBOW",
            "HAND",
            "WRIST",
            "FINGER",
            "HIP",
            "KNEE",
            "LEG",
            "ANKLE",
            "FOOT",
            "FEMUR",
            "TIBIA",
            "HUMERUS",
            "RADIUS",
            "EXTREMITY",
            "BREAST",
            "JAW",
        ]
    ),
    "DetectorType": frozenset({"DIRECT", "SCINTILLATOR", "STORAGE", "FILM", ""}),
    "DetectorConfiguration": frozenset({"AREA", "SLOT"}),
    "FieldOfViewShape": frozenset({"RECTANGLE", "ROUND", "HEXAGONAL"}),
    "ShutterShape": frozenset({"RECTANGULAR", "CIRCULAR", "POLYGONAL"}),
    "PositionerType": frozenset({"CARM", "COLUMN", "MAMMOGRAPHIC", "PANORAMIC", "CEPHALOSTAT", "RIGID", "NONE", ""}),
    "AnodeTargetMaterial": frozenset({"TUNGSTEN", "MOLYBDENUM", "RHODIUM"}),
    "PixelSpacingCalibrationType": frozenset({"GEOMETRY", "FIDUCIAL"}),
    "PatientSex": frozenset({"F", "M", "O", ""}),
}
NUMBERS = (
    "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelIntensityRelationshipSign", "RescaleIntercept", "RescaleSlope", "WindowCenter", "WindowWidth",
    "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio", "EstimatedRadiographicMagnificationFactor",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "LossyImageCompressionRatio", "KVP", "DistanceSourceToDetector",
    "DistanceSourceToPatient", "ExposureTime", "ExposureTimeInuS", "XRayTubeCurrent", "XRayTubeCurrentInuA",
    "Exposure", "ExposureInuAs", "FocalSpots", "Sensitivity", "RelativeXRayExposure", "ExposureIndex",
    "TargetExposureIndex", "DeviationIndex", "FieldOfViewDimensions", "FieldOfViewOrigin", "FieldOfViewRotation",
    "SeriesNumber", "InstanceNumber", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge",
    "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter",
    "VerticesOfThePolygonalShutter",
)  # fmt: skip
CHARACTERISTICS = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight")
# Names of makers and models: free text, kept only where no word of the patient occurs in it.
MAKERS = ("Manufacturer", "ManufacturerModelName")
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
MOMENTS = (
    ("StudyDate", "StudyTime"), ("SeriesDate", "SeriesTime"), ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
)  # fmt: skip
CODES = ("ViewCodeSequence", "AnatomicRegionSequence", "ViewModifierCodeSequence", "AnatomicRegionModifierSequence")
TABLES = ("ModalityLUTSequence", "VOILUTSequence")
# Required though possibly empty (type 2) by the patient, study, series and image modules of CR and DX.
EMPTY = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
    "Manufacturer", "SeriesNumber", "InstanceNumber",
)  # fmt: skip
# The same for DX images only; the first two are sequences without items.
EMPTY_IN_DX = ("AnatomicRegionSequence", "AcquisitionContextSequence", "PositionerType")
_MUST_BE_POSITIVE = ("PixelSpacing", "ImagerPixelSpacing")
# Codes of the commonest view and region in films of some years ago, which today's lists no longer hold.
_OLDER_CODES = {
    ("R-10214", "SRT"): "postero-anterior",
    ("T-D3000", "SRT"): "Chest",
    ("51185008", "SCT"): "Chest",
}
_AGE = re.compile(r"(\d{3})([DWMY])")
_OLDEST_YEARS = 90


def allowed_words(keyword: str, dataset: Any) -> str | None:
    """The value of a coded element as it may stay, None where a word of it is not in the list."""
    parts = text(dataset, keyword).upper().split("\\")
    if keyword == "ImageType":  # further values are the maker's own words
        parts = [*[*parts, ""][:2], ""]
    return "\\".join(parts) if all(part in WORDS[keyword] for part in parts) else None


def allowed_numbers(keyword: str, dataset: Any) -> Sequence[float] | None:
    """The numbers of an element, None where any part of it is no finite number, or a spacing of zero."""
    numbers = decimals(dataset, keyword)
    if keyword in _MUST_BE_POSITIVE and numbers and min(numbers) <= 0:
        return None
    return numbers or None


def allowed_age(age: str) -> str:
    """An age as DICOM writes it; 90 years and more become 090Y, because few are that old. "" when malformed."""
    found = _AGE.fullmatch(age)
    if not found:
        return ""
    return f"{_OLDEST_YEARS:03d}Y" if found[2] == "Y" and int(found[1]) >= _OLDEST_YEARS else age


@functools.lru_cache(maxsize=256)
def known_meaning(code: str, scheme: str) -> str:
    """The standard's own words for a code of views or regions of the body, "" for any other (PS3.16, CID 4010, 4031).

    The film's own words for it are never kept.
    """
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    if (code, scheme) in _OLDER_CODES:
        return _OLDER_CODES[code, scheme]
    wanted = Code(code, scheme, "")
    for group in (codes.cid4010, codes.cid4031):
        for known in group.concepts.values():
            if known == wanted:
                return str(known.meaning)
    return ""
