"""The matrix of pixel variants: {MONOCHROME1, MONOCHROME2} x 16 ways to store and window a film.

Each variant is (pixels, bits, elements, options of dcm2pnm that do the same).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.data.dicom.films import FileDataset, chest, film, look_up_table

_CURVE = np.linspace(0, 1, 4096) ** 0.5 * 65535
_NO_RESCALE: dict[str, Any] = {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}
_FIRST_WINDOW, _FIRST_TABLE, _NO_WINDOW = ("+Wi", "1"), ("+Wl", "1"), ("-W",)

Variant = tuple[npt.NDArray[Any], int, dict[str, Any], tuple[str, ...]]


def _window(centre: str | list[str], width: str | list[str], function: str | None = None) -> dict[str, Any]:
    return {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}


_SHAPES: dict[str, Variant] = {
    "full window": (chest(), 12, _window("2048", "4096"), _FIRST_WINDOW),
    "narrow window": (chest(), 12, _window("2000", "600"), _FIRST_WINDOW),
    "linear exact": (chest(), 12, _window("2000", "600", "LINEAR_EXACT"), _FIRST_WINDOW),
    "sigmoid": (chest(), 12, _window("2000", "1500", "SIGMOID"), _FIRST_WINDOW),
    "slope and intercept": (
        chest(), 12, {"RescaleSlope": "16", "RescaleIntercept": "-1000", **_window("30000", "40000")}, _FIRST_WINDOW,
    ),
    "falling slope": (chest(), 12, {"RescaleSlope": "-2", "RescaleIntercept": "8190"}, _NO_WINDOW),
    "VOI LUT": (chest(), 12, {"VOILUTSequence": look_up_table(0, _CURVE, 16), **_window("9", "9")}, _FIRST_TABLE),
    "VOI LUT of 8 bit": (chest(), 12, {"VOILUTSequence": look_up_table(0, _CURVE / 257, 8)}, _FIRST_TABLE),
    "VOI LUT from 1000": (chest(), 12, {"VOILUTSequence": look_up_table(1000, _CURVE[::2], 16)}, _FIRST_TABLE),
    "modality LUT": (
        chest(), 12,
        {**_NO_RESCALE, "ModalityLUTSequence": look_up_table(0, _CURVE, 16), **_window("32768", "50000")},
        _FIRST_WINDOW,
    ),
    "two windows": (chest(), 12, _window(["1000", "3000"], ["1500", "200"]), _FIRST_WINDOW),
    "no window": (chest(), 12, {}, _NO_WINDOW),
    "16 bit": (chest(bits=16), 16, _window("30000", "50000"), _FIRST_WINDOW),
    "10 in 16 bit": (chest(bits=10), 10, _window("512", "700"), _FIRST_WINDOW),
    "8 bit": (chest(bits=8).astype(np.uint8), 8, _window("128", "200"), _FIRST_WINDOW),
    "signed": ((chest() - np.int16(2048)).astype(np.int16), 12, _window("0", "3000"), _FIRST_WINDOW),
}  # fmt: skip
POLARITIES = ("MONOCHROME1", "MONOCHROME2")
MATRIX: dict[str, tuple[str, Variant]] = {
    f"{name}, {polarity}": (polarity, variant) for polarity in POLARITIES for name, variant in _SHAPES.items()
}


def variant_film(name: str) -> FileDataset:
    """The film of one variant, with the presentation LUT shape that its polarity requires (PS3.3, C.8.11.3)."""
    polarity, (pixels, bits, elements, _) = MATRIX[name]
    shape = "INVERSE" if polarity == "MONOCHROME1" else "IDENTITY"
    return film(pixels, bits=bits, PhotometricInterpretation=polarity, PresentationLUTShape=shape, **elements)
