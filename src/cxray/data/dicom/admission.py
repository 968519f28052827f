"""Which films may be judged: a table of rules, each with a reason code, checked before any pixel is touched.

A frontal chest radiograph meant for presentation passes; everything else is refused with its code, never judged in
silence. Some codes may be waived by whoever knows the data, through `accept` or the environment variable
CXRAY_DICOM_ACCEPT (codes separated by commas): the public RSNA films, for example, are secondary captures. Tags alone
cannot be trusted to catch every lateral view, which is why bundles may carry an input gate besides.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection

from cxray.data.dicom.header import FilmHeader, own_result
from cxray.data.raster import MAXIMUM_PIXELS
from cxray.errors import ConfigError, RefusedFilm

ACCEPT_VARIABLE = "CXRAY_DICOM_ACCEPT"
SMALLEST_SIDE_PIXELS, LARGEST_SIDE_PIXELS = 200, 8000

_CLASS = "1.2.840.10008.5.1.4.1.1."
COMPUTED_RADIOGRAPHY, DIGITAL_X_RAY = _CLASS + "1", _CLASS + "1.1"
DIGITAL_X_RAY_FOR_PROCESSING = _CLASS + "1.1.1"
SECONDARY_CAPTURES = (_CLASS + "7", _CLASS + "7.2", _CLASS + "7.3")
_FILM_CLASSES = (COMPUTED_RADIOGRAPHY, DIGITAL_X_RAY, DIGITAL_X_RAY_FOR_PROCESSING, *SECONDARY_CAPTURES)
# The word for chest in the languages that scanners are set to; the standard's own terms are CHEST and THORAX.
_CHEST_WORDS = ("CHEST", "THORAX", "TORAX", "TORACE", "LUNG", "PULMON", "POUMON")
_NOT_ONLY_CHEST = ("ABD", "PELV", "SPINE")
# Body parts of PS3.16, Annex L, that a message may repeat; any other word is not repeated, it might be a name.
_KNOWN_PARTS = {
    "ABDOMEN", "ANKLE", "ARM", "CLAVICLE", "CSPINE", "ELBOW", "EXTREMITY", "FEMUR", "FINGER", "FOOT", "HAND", "HEAD",
    "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE", "NECK", "PELVIS", "RADIUS", "RIB", "SHOULDER", "SKULL", "SPINE",
    "SSPINE", "STERNUM", "TIBIA", "TSPINE", "WHOLEBODY", "WRIST", "ZYGOMA", "BREAST",
}  # fmt: skip
# Chest, thorax, lung, mediastinum, inside of the thorax in SNOMED CT and its old form (PS3.16, CID 4).
_CHEST_CODES = {
    "T-D3000", "51185008", "816094009", "T-28000", "39607008", "T-D3300", "72410000", "T-D3200", "43799004",
}  # fmt: skip
_LATERAL_POSITIONS = {"LL", "RL", "LATERAL", "LAT", "LLAT", "RLAT", "LLO", "RLO"}
# Left lateral, right lateral, lateral, lateral-medial, medial-lateral (PS3.16, CID 4010).
_LATERAL_CODES = {
    "R-10236", "399173006", "R-10232", "399198007", "R-102CD", "399067008", "R-10228", "399352003", "R-10224",
    "399260004",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Rule:
    """One reason to refuse: `check` gives the sentence, or "" when the film passes."""

    code: str
    check: Callable[[FilmHeader], str]
    can_be_waived: bool = True


def check_admission(header: FilmHeader, *, name: str, accept: Collection[str] | None = None) -> tuple[str, ...]:
    """Refuse what must not be judged.

    Args:
        header: of the film.
        name: how messages call it.
        accept: codes to waive; None takes them from the environment.

    Returns:
        What was accepted against the rules, as facts.

    Raises:
        RefusedFilm: with the code of the first rule that is broken and not waived.
        ConfigError: `accept` names a code that does not exist or cannot be waived.
    """
    waived = check_codes(accepted_codes() if accept is None else accept)
    facts = []
    for rule in RULES:
        sentence = rule.check(header)
        if not sentence:
            continue
        if rule.code not in waived:
            hint = f"If it is meant to be used: {ACCEPT_VARIABLE}={rule.code}." if rule.can_be_waived else ""
            raise RefusedFilm(f"{name} is refused ({rule.code}): {sentence}.", hint, reason=rule.code)
        facts.append(f"accepted although {rule.code}")
    return tuple(facts)


def accepted_codes() -> frozenset[str]:
    """The codes that the environment waives."""
    return frozenset(code.strip() for code in os.environ.get(ACCEPT_VARIABLE, "").split(",") if code.strip())


def check_codes(codes: Collection[str]) -> frozenset[str]:
    """The codes, if each exists and can be waived.

    Raises:
        ConfigError: one does not or cannot.
    """
    possible = {rule.code for rule in RULES if rule.can_be_waived}
    wrong = sorted(set(codes) - possible)
    if wrong:
        raise ConfigError(
            f"{wrong[0]!r} is no reason that can be waived.", f"Possible codes: {', '.join(sorted(possible))}."
        )
    return frozenset(codes)


def _own_result(header: FilmHeader) -> str:
    return "it is a result that cxray wrote" if own_result(header.manufacturer, header.model) else ""


def _sop_class(header: FilmHeader) -> str:
    is_film = header.sop_class_uid in _FILM_CLASSES
    return "" if is_film else "it is neither a CR nor a DX image object"


def _secondary_capture(header: FilmHeader) -> str:
    return "it is a secondary capture, of unknown origin" if header.sop_class_uid in SECONDARY_CAPTURES else ""


def _for_processing(header: FilmHeader) -> str:
    is_raw = header.sop_class_uid == DIGITAL_X_RAY_FOR_PROCESSING or header.presentation_intent == "FOR PROCESSING"
    return "it is raw data for processing, not the picture for presentation" if is_raw else ""


def _modality(header: FilmHeader) -> str:
    return "" if header.modality in ("CR", "DX") else "its modality is neither CR nor DX"


def _body_part(header: FilmHeader) -> str:
    part = header.body_part
    if part:
        is_chest = any(word in part for word in _CHEST_WORDS) and not any(word in part for word in _NOT_ONLY_CHEST)
        named = part if part in _KNOWN_PARTS else "another one"
        return "" if is_chest else f"the body part examined is not the chest but {named}"
    codes = {code for code, _ in header.region_codes}
    return "the anatomic region is not the chest" if codes and not codes & _CHEST_CODES else ""


def _lateral_view(header: FilmHeader) -> str:
    by_code = any(code in _LATERAL_CODES for code, _ in header.view_codes)
    row, _, _ = header.patient_orientation.partition("\\")
    if header.view_position in _LATERAL_POSITIONS or by_code or row[:1] in ("A", "P"):
        return "it is a lateral view"
    return ""


def _orientation(header: FilmHeader) -> str:
    row, _, column = header.patient_orientation.partition("\\")
    if not row or not column or (row[0] == "L" and column[0] == "F") or row[0] in "AP":
        return ""
    return "rows do not run to the patient's left and columns to the feet, so it is mirrored or turned"


def _frames(header: FilmHeader) -> str:
    return "" if header.frames == 1 else "it has more than one frame"


def _colour(header: FilmHeader) -> str:
    is_grey = header.samples == 1 and header.photometric_interpretation in ("MONOCHROME1", "MONOCHROME2")
    return "" if is_grey else "its pixels are not declared as MONOCHROME1 or MONOCHROME2"


def _too_large(header: FilmHeader) -> str:
    # Also guards memory, so it cannot be waived: pixels are allocated by these two numbers.
    is_large = max(header.rows, header.columns) > LARGEST_SIDE_PIXELS or header.rows * header.columns > MAXIMUM_PIXELS
    return f"a side is longer than {LARGEST_SIDE_PIXELS} pixels" if is_large else ""


def _too_small(header: FilmHeader) -> str:
    is_small = min(header.rows, header.columns) < SMALLEST_SIDE_PIXELS
    return f"a side is shorter than {SMALLEST_SIDE_PIXELS} pixels" if is_small else ""


RULES: tuple[Rule, ...] = (
    Rule("own-result", _own_result, can_be_waived=False),
    Rule("sop-class", _sop_class, can_be_waived=False),
    Rule("secondary-capture", _secondary_capture),
    Rule("for-processing", _for_processing),
    Rule("modality", _modality),
    Rule("body-part", _body_part),
    Rule("lateral-view", _lateral_view),
    Rule("orientation", _orientation),
    Rule("frames", _frames, can_be_waived=False),
    Rule("colour", _colour, can_be_waived=False),
    Rule("too-large", _too_large, can_be_waived=False),
    Rule("too-small", _too_small),
)
