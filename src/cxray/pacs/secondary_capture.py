"""The result as a picture that every PACS shows: Secondary Capture, RGB, film with the activated area laid over it.

A band below the film carries the findings and, always, the line that this is research and not for diagnosis. It is
beside the film and never over it. No patient text is drawn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.sr.codedict import codes

from cxray.pacs.identity import Identity
from cxray.pacs.reading import Maker, Reading

LONGEST_SIDE_PIXELS = 1024
_SHORTEST_WIDTH_PIXELS = 480
_RESEARCH_USE = "RESEARCH USE ONLY - NOT FOR DIAGNOSIS"
_STRENGTH = 0.45


def secondary_capture(film: Dataset, reading: Reading, maker: Maker) -> SCImage:
    """The overlay of one film, at most `LONGEST_SIDE_PIXELS` a side without the band; see `structured_report`."""
    identity = Identity.of(film, maker, "sc")
    image = SCImage(
        pixel_array=overlay(reading, maker),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=_orientation(film),
        study_instance_uid=film.StudyInstanceUID,
        patient_id=film.PatientID,
        patient_name=film.PatientName,
        patient_birth_date=film.PatientBirthDate,
        patient_sex=film.PatientSex,
        accession_number=film.AccessionNumber,
        study_id=film.StudyID,
        study_date=film.StudyDate or None,
        study_time=film.StudyTime or None,
        referring_physician_name=film.ReferringPhysicianName,
        series_description=f"{maker.name} overlay - research use",
        **identity.arguments(maker, reading.made),
    )
    image.ImageComments = _RESEARCH_USE
    image.DerivationDescription = "Display rendering with the area of class activation; research use only"
    image.LossyImageCompression = film.get("LossyImageCompression") or "00"
    if film.get("BurnedInAnnotation") in ("YES", "NO"):
        image.BurnedInAnnotation = film.BurnedInAnnotation
    image.SourceImageSequence = [_source(film)]
    return image


def overlay(reading: Reading, maker: Maker) -> npt.NDArray[np.uint8]:
    """The picture itself, uint8 (height, width, 3)."""
    picture = _film(reading)
    lines = _lines(reading, maker)
    size = max(14, picture.shape[1] // 40)
    band = _band(lines, picture.shape[1], size, warning=reading.refusal is not None or bool(reading.remark))
    return np.ascontiguousarray(np.vstack([picture, band]))


def _film(reading: Reading) -> npt.NDArray[np.uint8]:
    if reading.picture is None:
        return np.zeros((_SHORTEST_WIDTH_PIXELS, _SHORTEST_WIDTH_PIXELS, 3), dtype=np.uint8)
    grey = Image.fromarray(reading.picture)
    scale = min(1.0, LONGEST_SIDE_PIXELS / max(grey.size))
    scale = max(scale, _SHORTEST_WIDTH_PIXELS / grey.width)
    size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
    grey = grey.resize(size, Image.Resampling.BILINEAR)
    shown: npt.NDArray[Any] = np.repeat(np.asarray(grey, dtype=np.float32)[..., np.newaxis], 3, axis=2)
    if reading.activation is not None and reading.present:
        area = np.asarray(Image.fromarray(reading.activation).resize(size, Image.Resampling.BILINEAR))
        shown = _blend(shown, np.clip(area, 0, 1))
    return np.asarray(np.rint(np.clip(shown, 0, 255)), dtype=np.uint8)


def _blend(shown: npt.NDArray[Any], area: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Lay yellow to red over the film where `area` is high; where it is below a third the film stays untouched."""
    strength = np.clip((area - 1 / 3) * 1.5, 0, 1)[..., np.newaxis]
    colour = np.stack([np.full_like(area, 255), 255 * (1 - area), np.zeros_like(area)], axis=-1)
    return shown * (1 - _STRENGTH * strength) + colour * _STRENGTH * strength


def _lines(reading: Reading, maker: Maker) -> list[str]:
    model = f"{maker.name} {maker.identifier}, cxray {maker.version}, {reading.made:%Y-%m-%d %H:%M}"
    if reading.refusal is not None:
        return [_RESEARCH_USE, f"NOT ASSESSED: {reading.refusal.text}", model]
    found = [
        f"{finding.code.meaning}: {finding.probability:.2f}, {finding.presence}"
        + ("" if finding.threshold is None else f" (threshold {finding.threshold:.2f})")
        for finding in reading.findings
    ]
    if reading.remark:
        found.append(reading.remark)
    if reading.present and reading.activation is not None:
        found.append(f"Colour: where the score for {reading.activation_of} comes from, not the extent of disease")
    return [_RESEARCH_USE, *found, model]


def _band(lines: list[str], width: int, size: int, *, warning: bool) -> npt.NDArray[np.uint8]:
    font = ImageFont.load_default(size)
    rows = [row for line in lines for row in _wrapped(line, font, width - size)]
    band = Image.new("RGB", (width, math.ceil(size * 1.35 * len(rows) + size * 0.8)), (24, 24, 24))
    pen = ImageDraw.Draw(band)
    for k, row in enumerate(rows):
        colour = (255, 214, 10) if k == 0 or warning else (235, 235, 235)
        pen.text((size / 2, size * (0.4 + 1.35 * k)), row, font=font, fill=colour)
    return np.asarray(band)


def _wrapped(line: str, font: Any, width: int) -> list[str]:
    rows, row = [], ""
    for word in line.split():
        longer = f"{row} {word}".strip()
        if row and font.getlength(longer) > width:
            rows.append(row)
            row = word
        else:
            row = longer
    return [*rows, row]


def _orientation(film: Dataset) -> tuple[str, str]:
    # The writer insists on one; a frontal film whose header is silent is shown, as films are, from the front.
    given = film.get("PatientOrientation")
    return (given[0], given[1]) if given and len(given) == 2 and all(given) else ("L", "F")


def _source(film: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = film.SOPClassUID
    item.ReferencedSOPInstanceUID = film.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    return item
