"""DICOM films for tests: a chest-like picture as CR or DX in every variant that the standard and real life know."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.sequence import Sequence as DicomSequence  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

Pixels = npt.NDArray[Any]
CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
# Identifiers that must never leave a DICOM header unless results are written: searched for by the leak tests.
PLANTED = {
    "PatientName": "Zwetschgenmann^Quirinus",
    "PatientID": "QX-7741-ZW",
    "PatientBirthDate": "19370423",
    "OtherPatientIDs": "ALTNUMMER998877",
    "AccessionNumber": "ACCNO5566771",
    "InstitutionName": "Klinikum Quastenflosser",
    "ReferringPhysicianName": "Doktorvogel^Xaver",
    "PatientComments": "Besuch von Tante Kunigunde",
    "StudyDescription": "Fragestellung Zwetschgenmann",
    "ImageComments": "Kommentar Obstkuchen",
    "StationName": "RAUMNEUNZEHN",
    "OperatorsName": "Hebelwerfer^Jolanda",
    "StudyID": "STUDNR4433",
    "PatientAddress": "Pflaumengasse 12",
}  # fmt: skip
PLANTED_WORDS = (
    "Zwetschgenmann", "Quirinus", "QX-7741-ZW", "19370423", "ALTNUMMER998877", "ACCNO5566771", "Quastenflosser",
    "Doktorvogel", "Kunigunde", "Obstkuchen", "RAUMNEUNZEHN", "Hebelwerfer", "STUDNR4433", "Pflaumengasse",
    "Geheimfeld", "Schachtelname",
)  # fmt: skip


def chest(rows: int = 240, columns: int = 220, *, bits: int = 12, seed: int = 0) -> Pixels:
    """A smooth picture with noise that uses nearly all of `bits`, so that every part of a grey curve is met."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64)
    waves = np.sin(x / 31) * np.cos(y / 23) * 0.25 + (x / columns + y / rows) / 4 + 0.25
    noisy = waves + rng.normal(0, 0.01, waves.shape)
    return np.asarray(np.clip(noisy, 0, 1) * (2**bits - 1), dtype=np.uint16)


def film(pixels: npt.NDArray[Any], *, bits: int = 12, patient: str = "P1", **elements: Any) -> FileDataset:
    """A valid CR or DX film of the chest; `elements` are keywords to add, replace or (None) leave out."""
    dataset = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    dataset.update(_base(pixels, bits, patient))
    for keyword, value in elements.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _base(pixels: npt.NDArray[Any], bits: int, patient: str) -> Dataset:
    dataset = Dataset()
    content: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192", "ImageType": ["ORIGINAL", "PRIMARY", ""], "SOPClassUID": DX,
        "SOPInstanceUID": generate_uid(entropy_srcs=[patient, pixels.tobytes().hex()[:2000], str(bits)]),
        "StudyDate": "20240513", "StudyTime": "101530", "AccessionNumber": "", "Modality": "DX",
        "PresentationIntentType": "FOR PRESENTATION", "Manufacturer": "Phantom Works", "ReferringPhysicianName": "",
        "PatientName": f"Name^{patient}", "PatientID": patient, "PatientBirthDate": "19600101", "PatientSex": "O",
        "BodyPartExamined": "CHEST", "ViewPosition": "PA", "ImageLaterality": "U",
        "StudyInstanceUID": generate_uid(entropy_srcs=["study", patient]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series", patient]), "StudyID": "1", "SeriesNumber": "1",
        "InstanceNumber": "1", "PatientOrientation": ["L", "F"], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "Rows": pixels.shape[0], "Columns": pixels.shape[1],
        "BitsAllocated": 8 * pixels.dtype.itemsize, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"), "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00", "PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1,
        "RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US", "PresentationLUTShape": "IDENTITY",
        "ImagerPixelSpacing": [0.2, 0.2], "DetectorType": "DIRECT", "SeriesDate": "20240513",
    }  # fmt: skip
    for keyword, value in content.items():
        setattr(dataset, keyword, value)
    raw = np.ascontiguousarray(pixels).tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    return dataset


def look_up_table(first: int, entries: npt.NDArray[Any], bits: int) -> Any:
    """A sequence with one item for ModalityLUTSequence or VOILUTSequence."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.astype(np.uint16).tobytes()
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item["LUTData"].VR = "OW"
    item.ModalityLUTType = "US"
    return DicomSequence([item])


def planted() -> dict[str, Any]:
    """Every planted identifier as elements for `film`."""
    return dict(PLANTED)


def plant_deep(dataset: FileDataset) -> None:
    """Plant identifiers where simple tools do not look: a private block, a nested sequence, a code stream's comment."""
    block = dataset.private_block(0x0019, "QUINCE WORKS", create=True)
    block.add_new(0x01, "LO", "Geheimfeld 99")
    inner, outer = Dataset(), Dataset()
    inner.PatientName = "Schachtelname^Otto"
    inner.ReferencedSOPInstanceUID = "1.2.3.4"
    outer.RequestedProcedureDescription = "Schachtelname"
    outer.ReferencedStudySequence = DicomSequence([inner])
    dataset.RequestAttributesSequence = DicomSequence([outer])


def save(dataset: Any, path: Path) -> Path:
    """Write a data set as a Part 10 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def bytes_of(dataset: Any) -> bytes:
    """The file as bytes."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dcmtk(program: str) -> str:
    """The path of a dcmtk program of the system, never of the virtual environment; or a skip."""
    found = subprocess.run(["sh", "-c", f"command -v -p {program}"], capture_output=True, text=True, check=False)
    if not found.stdout.strip():
        pytest.skip(f"{program} is not installed (Debian package dcmtk)")
    return found.stdout.strip()


def dcmtk_grey(path: Path, *options: str) -> npt.NDArray[np.uint8]:
    """The film as dcmtk shows it, uint8 (rows, columns), with the first window or `options`."""
    target = path.with_suffix(".pgm")
    command = [dcmtk("dcm2pnm"), "+op", *(options or ("+Wi", "1")), str(path), str(target)]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    from PIL import Image

    with Image.open(target) as image:
        return np.asarray(image.convert("L"))


def grey_of(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Grey 0-1 as levels 0-255."""
    return np.asarray(np.rint(pixels * 255), dtype=np.int16)
