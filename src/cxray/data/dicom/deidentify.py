"""De-identification of CR and DX films: an allow-list of elements, keyed codes, moved dates, clean pixels.

    film -> read whole -> only allowed elements with allowed values -> codes for patient and UIDs -> dates moved by
    an interval of the patient's own -> pixels decoded and rewritten without what lies beside them -> markers

With the same key the same film gives the same bytes, and films of one patient stay together; without it nothing leads
back. What is burned into the picture cannot be found in a header: films that declare it, and secondary captures, are
refused. (DICOM PS3.15, annex E: Basic Application Confidentiality Profile.)
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from cxray.data.dicom import profile
from cxray.data.dicom.admission import (
    COMPUTED_RADIOGRAPHY,
    DIGITAL_X_RAY,
    DIGITAL_X_RAY_FOR_PROCESSING,
)
from cxray.data.dicom.codestream import without_comments
from cxray.data.dicom.header import FilmHeader, read_header
from cxray.data.dicom.pseudonym import Pseudonyms
from cxray.data.dicom.source import decimals, integer, items, open_dicom, text, value
from cxray.data.dicom.stored import CODECS, stored_patterns
from cxray.errors import RefusedFilm, UnreadableImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CLASSES = (COMPUTED_RADIOGRAPHY, DIGITAL_X_RAY, DIGITAL_X_RAY_FOR_PROCESSING)
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_RLE = "1.2.840.10008.1.2.5"
# Names this implementation in the file meta group; derived once from the word "cxray".
_IMPLEMENTATION = "2.25.188320613741650212839468254921637470112"
_SHORTEST_WORD = 4
_IDENTIFYING = ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "PatientBirthDate")


@dataclasses.dataclass(frozen=True)
class DeidentifiedFilm:
    """A film that may leave.

    `content` is the whole file; `patient`, `study` and `film` are codes; `facts` are liberties taken and things to
    look at.
    """

    content: bytes
    patient: str
    study: str
    film: str
    facts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What may stay beyond the basic profile: `characteristics` (sex, age, size, weight); dates moved or removed."""

    characteristics: bool = False
    dates: str = "shift"


def deidentify_film(
    content: bytes, pseudonyms: Pseudonyms, wishes: Wishes | None = None, *, name: str = "the film"
) -> DeidentifiedFilm:
    """De-identify one film.

    Raises:
        RefusedFilm: not a CR or DX image ("sop-class"), or it declares burned-in text ("burned-in-annotation").
        UnreadableImage: damaged, or pixels that cannot be decoded and so not be vouched for.
    """
    chosen = wishes or Wishes()
    source = open_dicom(content, name=name, pixels=True)
    header = read_header(source)
    _refuse(header, name)
    facts: list[str] = []
    if header.burned_in_annotation != "NO":
        facts.append("burned-in text not ruled out by the header")
    film = _allowed(source, chosen, facts)
    _add_codes(film, source, pseudonyms)
    _move_dates(film, source, pseudonyms, chosen)
    _mark(film, chosen)
    syntax = _copy_pixels(film, source, header, facts, name)
    return DeidentifiedFilm(
        content=_as_file(film, syntax),
        patient=film.PatientID,
        study=pseudonyms.study(header.study_instance_uid),
        film=pseudonyms.study(header.sop_instance_uid),
        facts=tuple(facts),
    )


def _refuse(header: FilmHeader, name: str) -> None:
    if header.sop_class_uid not in _CLASSES:
        raise RefusedFilm(
            f"{name} is refused (sop-class): only CR and DX images are de-identified; other pictures may show names.",
            reason="sop-class",
        )
    if header.burned_in_annotation == "YES":
        raise RefusedFilm(
            f"{name} is refused (burned-in-annotation): it declares text in the picture.",
            "Black it out first and set BurnedInAnnotation to NO.",
            reason="burned-in-annotation",
        )
    if header.samples != 1 or header.frames != 1:
        raise RefusedFilm(f"{name} is refused (frames): one grey frame was expected.", reason="frames")
    if not header.sop_instance_uid or not header.study_instance_uid:
        raise UnreadableImage(f"{name} lacks its SOP or study instance UID.")


def _allowed(source: Any, wishes: Wishes, facts: list[str]) -> Dataset:
    """A new data set with nothing but allowed elements of allowed values."""
    from pydicom.dataset import Dataset

    film = Dataset()
    film.SpecificCharacterSet = "ISO_IR 192"
    film.SOPClassUID = text(source, "SOPClassUID")
    is_dx = text(source, "SOPClassUID") != COMPUTED_RADIOGRAPHY
    for keyword in (*profile.EMPTY, *(profile.EMPTY_IN_DX if is_dx else ())):
        setattr(film, keyword, None)
    kept = {*profile.WORDS, *profile.NUMBERS, *profile.MAKERS} - {*profile.CHARACTERISTICS, "ModalityLUTType"}
    if wishes.characteristics:
        kept |= set(profile.CHARACTERISTICS)
    secrets = _words_of_the_patient(source)
    for keyword in sorted(kept):
        if keyword in source:
            _copy(keyword, source, film, secrets, facts)
    for keyword in profile.CODES:
        _copy_codes(keyword, source, film)
    for keyword in profile.TABLES:
        _copy_tables(keyword, source, film)
    return film


def _copy(keyword: str, source: Any, film: Dataset, secrets: set[str], facts: list[str]) -> None:
    if value(source, keyword) is None:
        setattr(film, keyword, None)
        return
    kept: Any
    if keyword == "PatientAge":
        kept = profile.allowed_age(text(source, keyword)) or None
    elif keyword in profile.WORDS:
        kept = profile.allowed_words(keyword, source)
    elif keyword in profile.MAKERS:
        kept = text(source, keyword)
        kept = None if any(word in kept.casefold() for word in secrets) else kept[:64]
    else:
        kept = profile.allowed_numbers(keyword, source)
        kept = None if kept is None else source[keyword].value
    if kept is None:
        facts.append(f"{keyword} had a value that may not stay")
    else:
        setattr(film, keyword, kept)


def _words_of_the_patient(source: Any) -> set[str]:
    """Words of names and numbers of the people involved, in lower case, wherever they stand in the source."""
    found: set[str] = set()

    def collect(_: Any, element: Any) -> None:
        try:
            if element.VR == "PN" or element.keyword in _IDENTIFYING:
                found.update(re.split(r"[\s^=,;\\]+", str(element.value).casefold()))
        except Exception:  # an element that cannot be read cannot be repeated either
            return

    source.walk(collect)
    return {word for word in found if len(word) >= _SHORTEST_WORD}


def _copy_codes(keyword: str, source: Any, film: Dataset) -> None:
    from pydicom.dataset import Dataset

    kept = []
    for item in items(source, keyword):
        code, scheme = text(item, "CodeValue"), text(item, "CodingSchemeDesignator")
        meaning = profile.known_meaning(code, scheme)
        if meaning:
            copy = Dataset()
            copy.CodeValue, copy.CodingSchemeDesignator, copy.CodeMeaning = code, scheme, meaning
            kept.append(copy)
    if kept:
        setattr(film, keyword, kept)


def _copy_tables(keyword: str, source: Any, film: Dataset) -> None:
    from pydicom.dataset import Dataset

    kept = []
    for item in items(source, keyword):
        if not _holds_nothing_else(item):
            continue
        copy = Dataset()
        copy["LUTDescriptor"], copy["LUTData"] = item["LUTDescriptor"], item["LUTData"]
        if keyword == "ModalityLUTSequence":
            copy.ModalityLUTType = profile.allowed_words("ModalityLUTType", item) or "US"
        kept.append(copy)
    if kept:
        setattr(film, keyword, kept)


def _holds_nothing_else(item: Any) -> bool:
    """Whether LUTData is as long as its descriptor says, 16 or 8 bits an entry."""
    descriptor, data = decimals(item, "LUTDescriptor"), value(item, "LUTData")
    if len(descriptor) != 3 or data is None:
        return False
    entries = int(descriptor[0]) or 65536
    if isinstance(data, bytes):
        return len(data) in (2 * entries, entries + entries % 2)
    return len(data) in (entries, (entries + 1) // 2)


def _add_codes(film: Dataset, source: Any, pseudonyms: Pseudonyms) -> None:
    # A film without a number must not share the code of all others without one.
    identifier = text(source, "PatientID") or f"study {text(source, 'StudyInstanceUID')}"
    film.PatientID = pseudonyms.patient(identifier)
    film.PatientName = film.PatientID
    for keyword in profile.UIDS:
        uid = text(source, keyword)
        if uid:
            setattr(film, keyword, pseudonyms.uid(uid))


def _move_dates(film: Dataset, source: Any, pseudonyms: Pseudonyms, wishes: Wishes) -> None:
    film.LongitudinalTemporalInformationModified = "REMOVED"
    if wishes.dates != "shift":
        return
    film.LongitudinalTemporalInformationModified = "MODIFIED"
    seconds = pseudonyms.shift_seconds(text(source, "PatientID") or text(source, "StudyInstanceUID"))
    for date_keyword, time_keyword in profile.MOMENTS:
        moved = _moved(text(source, date_keyword), text(source, time_keyword), seconds)
        if moved:
            setattr(film, date_keyword, moved[0])
            setattr(film, time_keyword, moved[1])


def _moved(date: str, time: str, seconds: int) -> tuple[str, str] | None:
    """Date and time moved back; without a time, by whole days and "" for the time. None when there is no valid date."""
    try:
        day = datetime.datetime.strptime(date[:8], "%Y%m%d")
    except ValueError:
        return None
    digits = time.partition(".")[0]
    try:
        clock = datetime.datetime.strptime(digits.ljust(6, "0"), "%H%M%S") if len(digits) >= 2 else None
    except ValueError:
        clock = None
    if clock is None:
        return f"{day - datetime.timedelta(days=seconds // 86400):%Y%m%d}", ""
    moment = day.replace(hour=clock.hour, minute=clock.minute, second=clock.second)
    moment -= datetime.timedelta(seconds=seconds)
    return f"{moment:%Y%m%d}", f"{moment:%H%M%S}"


def _mark(film: Dataset, wishes: Wishes) -> None:
    """Say what was done (PS3.3, C.7.1.1 and C.12.1)."""
    from pydicom.dataset import Dataset

    done = ["basic"]
    done += ["dates"] if wishes.dates == "shift" else []
    done += ["characteristics"] if wishes.characteristics else []
    film.PatientIdentityRemoved = "YES"
    film.DeidentificationMethod = "cxray deidentify: allow-list, keyed codes"
    sequence = []
    for name in done:
        item = Dataset()
        item.CodeValue, item.CodeMeaning = profile.METHODS[name]
        item.CodingSchemeDesignator = "DCM"
        sequence.append(item)
    film.DeidentificationMethodCodeSequence = sequence


def _copy_pixels(film: Dataset, source: Any, header: FilmHeader, facts: list[str], name: str) -> str:
    """Pixels without anything beside them; returns the transfer syntax they are in now.

    Every frame is decoded once, which proves that it is a picture and shows bits that do not belong to it.
    """
    found: list[str] = []
    patterns = stored_patterns(source, header, found, name=name)
    codec = CODECS[header.transfer_syntax_uid]
    if codec.kinds and not found:
        from pydicom.encaps import encapsulate, get_frame

        frame = without_comments(get_frame(source.PixelData, 0, number_of_frames=1))
        if frame is not None:
            film.PixelData = encapsulate([frame])
            film["PixelData"].VR = "OB"
            film["PixelData"].is_undefined_length = True
            return header.transfer_syntax_uid
        found.append("comments deep in the code stream")
    facts += [f"pixels rewritten: {fact}" for fact in found]
    film.HighBit = header.bits_stored - 1
    film.PixelData = _native_bytes(patterns, header, is_signed=integer(source, "PixelRepresentation") == 1)
    film["PixelData"].VR = "OW"
    return _EXPLICIT_LITTLE


def _native_bytes(patterns: Any, header: FilmHeader, *, is_signed: bool) -> bytes:
    values = patterns.astype(np.int32)
    if is_signed:
        values[values >= 1 << (header.bits_stored - 1)] -= 1 << header.bits_stored
    kind = "i" if is_signed else "u"
    raw: bytes = values.astype(f"<{kind}{header.bits_allocated // 8}").tobytes()
    return raw + b"\0" * (len(raw) % 2)


def _as_file(film: Dataset, syntax: str) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    film.file_meta = FileMetaDataset()
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.file_meta.TransferSyntaxUID = UID(syntax)
    film.file_meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    film.file_meta.ImplementationVersionName = "CXRAY"
    stream = io.BytesIO()
    film.preamble = bytes(128)
    film.save_as(stream, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return stream.getvalue()
