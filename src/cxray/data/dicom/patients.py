"""Who is one patient, from the tags of DICOM films, as a keyed hash; no name or number leaves this module.

PatientID decides. Where it is empty, a placeholder such as ANONYMOUS, or shared by people with three or more different
dates of birth, the study is taken instead, so that at least the films of one visit stay together. The issuer of the
number is left out on purpose: merging two strangers only costs a little precision, dividing one patient between
training and test costs the truth of every figure.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cxray import progress
from cxray.data.dicom.library import load
from cxray.data.dicom.pseudonym import Pseudonyms, load_pseudonyms
from cxray.data.dicom.source import open_dicom, text
from cxray.data.sniff import sniff_file
from cxray.errors import UnreadableImage

_RASTER_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".webp"}
_PLACEHOLDER = re.compile(
    r"(anon\w*|unknown|unk|none|null|nil|test|patient|pat|id|no[_ ]?id|n/?a|removed|de-?identified|[0x\-_.*?]+)",
    re.IGNORECASE,
)
_TOO_MANY_BIRTH_DATES = 3


@dataclasses.dataclass(frozen=True)
class TaggedPatients:
    """Film to patient code; `by_study` counts the films that only their study holds together."""

    by_path: Mapping[Path, str]
    by_study: int = 0


@dataclasses.dataclass(frozen=True)
class _Tags:
    identifier: str
    birth_date: str
    study: str


def dicom_films(paths: Sequence[Path]) -> list[Path]:
    """Those of `paths` that hold DICOM, by content; files with a picture's ending are not opened."""
    return [path for path in paths if path.suffix.lower() not in _RASTER_SUFFIXES and sniff_file(path) == "dicom"]


def read_tagged_patients(films: Sequence[Path], pseudonyms: Pseudonyms | None = None) -> TaggedPatients:
    """The patient of every DICOM film whose header says so.

    Raises:
        MissingExtra: the extra `dicom` is not installed.
        UsageError, OutputError: there is no key for the pseudonyms and none can be made.
    """
    if not films:
        return TaggedPatients({})
    load()
    codes = pseudonyms or load_pseudonyms()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        read = list(progress.track(pool.map(_read_tags, films), total=len(films), what="Reading patients"))
    tags = {path: found for path, found in zip(films, read, strict=True) if found is not None}
    shared = _shared_identifiers(list(tags.values()))
    by_path: dict[Path, str] = {}
    by_study = 0
    for path, found in tags.items():
        if _names_a_person(found.identifier) and found.identifier not in shared:
            by_path[path] = f"patient:{codes.patient(found.identifier)}"
        elif found.study:
            by_path[path] = f"study:{codes.study(found.study)}"
            by_study += 1
    return TaggedPatients(by_path, by_study)


def _read_tags(path: Path) -> _Tags | None:
    try:
        dataset = open_dicom(path, name=str(path), keywords=("PatientID", "PatientBirthDate", "StudyInstanceUID"))
    except UnreadableImage:
        return None
    return _Tags(text(dataset, "PatientID"), text(dataset, "PatientBirthDate"), text(dataset, "StudyInstanceUID"))


def _names_a_person(identifier: str) -> bool:
    return bool(identifier) and not _PLACEHOLDER.fullmatch(identifier)


def _shared_identifiers(tags: Sequence[_Tags]) -> set[str]:
    births: dict[str, set[str]] = defaultdict(set)
    for found in tags:
        if found.birth_date:
            births[found.identifier].add(found.birth_date)
    return {identifier for identifier, dates in births.items() if len(dates) >= _TOO_MANY_BIRTH_DATES}
