"""From stored values to grey 0-1: one table over every value that the declared bits can hold.

    stored pattern -> sign -> modality (LUT, or slope and intercept) -> VOI (LUT, or window, or full range) -> polarity

A film of 16 bit has 65,536 possible values and millions of pixels, so the pipeline runs once over the values and the
pixels look theirs up. The range is the *declared* one, never the film's own minimum and maximum. What is malformed is
left out and reported. (DICOM PS3.3, C.11.1 modality LUT, C.11.2 VOI LUT, C.7.6.3.1.2 photometric interpretation.)

The arithmetic is written out here because pydicom 3.0's `apply_voi_lut` wraps around for 8-bit tables and for values
beyond 16 bit, and refuses windows that other readers accept with a warning.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.dicom.source import decimals, integer, is_malformed, items, text, value
from cxray.errors import UnreadableImage

KEYWORDS = (
    "PhotometricInterpretation", "PresentationLUTShape", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction",
)  # fmt: skip
Floats = npt.NDArray[np.float64]
_CONTRADICTION = {"MONOCHROME1": "IDENTITY", "MONOCHROME2": "INVERSE"}
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclasses.dataclass(frozen=True)
class _LookUpTable:
    """`entries[i]` belongs to input `first + i`; `white` is the largest output that its declared bits can hold."""

    first: int
    entries: Floats
    white: float

    def apply(self, values: Floats) -> Floats:
        index = np.clip(np.floor(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)])


def grey_table(dataset: Any, facts: list[str], *, name: str) -> npt.NDArray[np.float32]:
    """Grey 0-1 (0 = black) of every stored bit pattern, float32 (2 ** BitsStored,).

    `facts` receives what was applied and what was left out.

    Raises:
        UnreadableImage: a rescale slope of 0, which would make the film one flat grey.
    """
    values = _declared_values(dataset)
    values, black, white = _modality(dataset, values, facts, name)
    grey = _values_of_interest(dataset, values, (black, white), facts)
    polarity, shape = text(dataset, "PhotometricInterpretation").upper(), text(dataset, "PresentationLUTShape").upper()
    if polarity == "MONOCHROME1":
        # Once: PresentationLUTShape INVERSE only repeats it (C.8.11.3.1.2), and many films lack it.
        grey = 1 - grey
        facts.append("MONOCHROME1 inverted")
    if shape == _CONTRADICTION.get(polarity):
        facts.append(f"PresentationLUTShape {shape} ignored, because the film is {polarity}")
    return np.clip(grey, 0, 1).astype(np.float32)


def full_range_table(
    dataset: Any, facts: list[str], *, name: str
) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """As `grey_table`, but with no VOI step: the whole declared range, for viewers that window by themselves.

    Returns:
        The table, and the two ends of the film's own window on it; (0, 1) without one. Values beyond 0–1 are possible.
    """
    values = _declared_values(dataset)
    values, black, white = _modality(dataset, values, facts, name)
    grey, window = (values - black) / (white - black), _window(dataset, facts)
    low, high = 0.0, 1.0
    if window is not None:
        _, centre, width = window
        low, high = ((centre + side * width / 2 - black) / (white - black) for side in (-1, 1))
    if text(dataset, "PhotometricInterpretation").upper() == "MONOCHROME1":
        grey, low, high = 1 - grey, 1 - high, 1 - low
        facts.append("MONOCHROME1 inverted")
    return np.clip(grey, 0, 1).astype(np.float32), (low, high)


def _declared_values(dataset: Any) -> Floats:
    count = 1 << integer(dataset, "BitsStored", integer(dataset, "BitsAllocated", 16))
    patterns = np.arange(count, dtype=np.float64)
    if integer(dataset, "PixelRepresentation") == 1:
        patterns[count // 2 :] -= count
    return patterns


def _modality(dataset: Any, values: Floats, facts: list[str], name: str) -> tuple[Floats, float, float]:
    """Values after the modality step and the two ends of their declared range."""
    table = _first_table(dataset, "ModalityLUTSequence", facts)
    if table is not None:
        facts.append("modality LUT applied")
        return table.apply(values), 0.0, table.white
    slopes, intercepts = decimals(dataset, "RescaleSlope"), decimals(dataset, "RescaleIntercept")
    if not slopes or not intercepts:
        if is_malformed(dataset, "RescaleSlope") or bool(slopes) != bool(intercepts):
            facts.append("rescale slope or intercept without the other ignored")
        return values, float(values.min()), float(values.max())
    slope, intercept = slopes[0], intercepts[0]
    if slope == 0:
        raise UnreadableImage(
            f"{name} declares a rescale slope of 0, which makes every pixel the same.", "Export the film again."
        )
    if (slope, intercept) != (1, 0):
        facts.append(f"rescaled by {slope:g} and {intercept:g}")
    values = values * slope + intercept
    return values, float(values.min()), float(values.max())


def _values_of_interest(dataset: Any, values: Floats, ends: tuple[float, float], facts: list[str]) -> Floats:
    table = _first_table(dataset, "VOILUTSequence", facts)
    if table is not None:
        facts.append("VOI LUT applied")
        return table.apply(values) / table.white
    window = _window(dataset, facts)
    if window is None:
        black, white = ends
        return (values - black) / (white - black)
    function, centre, width = window
    facts.append(f"window {centre:g} / {width:g} {function} applied")
    if function == "SIGMOID":  # C.11.2.1.3.1
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR":  # C.11.2.1.2.1
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _window(dataset: Any, facts: list[str]) -> tuple[str, float, float] | None:
    """The first window that can be meant, or None for the full range."""
    centres, widths = decimals(dataset, "WindowCenter"), decimals(dataset, "WindowWidth")
    if not centres or not widths:
        if centres or widths or is_malformed(dataset, "WindowCenter") or is_malformed(dataset, "WindowWidth"):
            facts.append("incomplete window ignored, full range used")
        return None
    function = text(dataset, "VOILUTFunction").upper() or "LINEAR"
    if function not in _FUNCTIONS:
        facts.append("unknown VOI LUT function taken as LINEAR")
        function = "LINEAR"
    if min(len(centres), len(widths)) > 1:
        facts.append(f"first of {min(len(centres), len(widths))} windows used")
    centre, width = centres[0], widths[0]
    if width < 1 if function == "LINEAR" else width <= 0:
        facts.append(f"window width {width:g} ignored, full range used")
        return None
    return function, centre, width


def _first_table(dataset: Any, keyword: str, facts: list[str]) -> _LookUpTable | None:
    tables = items(dataset, keyword)
    if not tables:
        return None
    table = _read_table(tables[0], is_signed=integer(dataset, "PixelRepresentation") == 1)
    if table is None:
        facts.append(f"damaged {keyword} ignored")
    elif len(tables) > 1:
        facts.append(f"first of {len(tables)} items of {keyword} used")
    return table


def _read_table(item: Any, *, is_signed: bool) -> _LookUpTable | None:
    """A look-up table (C.11.1.1), None when descriptor and data do not fit each other."""
    descriptor = decimals(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    count, first, bits = (int(number) for number in descriptor)
    count = count or 65536
    if is_signed and first > 32767:
        first -= 65536  # read as unsigned although the film's values are signed
    entries = _entries(value(item, "LUTData"), abs(count))
    if entries is None or not 1 <= bits <= 16:
        return None
    # Some writers declare fewer bits than they use; the data then say how many there are.
    bits = max(bits, int(entries.max()).bit_length())
    return _LookUpTable(first, entries, float(2**bits - 1))


def _entries(data: Any, count: int) -> Floats | None:
    """The entries of LUTData, US or OW; 8-bit entries may be packed two to a word."""
    if data is None:
        return None
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2")
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)).astype(np.uint16)
    if len(words) >= count:
        return words[:count].astype(np.float64)
    if len(words) == (count + 1) // 2:
        return words.astype("<u2").view(np.uint8)[:count].astype(np.float64)
    return None
