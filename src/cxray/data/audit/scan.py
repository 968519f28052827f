"""One pass over all films: everything that the checks need to know of a film, and none of its pixels beyond that.

Films are read once, decoded through the one pixel path, and reduced to some 3 kB each: a 32 × 32 thumbnail, a
17 × 16 film for hashing, marks in the corners, grey-value statistics, black margins, the file's facts. Columns are
arrays in the order of `Scan.records`, which holds the readable films only; `Scan.unreadable` names the others and why.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import progress
from cxray.config import InputCard
from cxray.data.audit.marks import count_text_lines
from cxray.data.audit.prints import CORNERS, PACKED_BYTES, corner_prints
from cxray.data.cache import WORKERS
from cxray.data.decode import decode_bytes
from cxray.data.dicom.read import pixel_bytes
from cxray.data.intake import Intake
from cxray.data.prepare import prepare
from cxray.data.sniff import HEAD_BYTES, sniff
from cxray.errors import UnreadableImage
from cxray.records import ImageRecord, PixelImage
from cxray.tables import Column, text_column

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

THUMBNAIL = InputCard(height=32, width=32, fit="stretch")
HASH_FILM = InputCard(height=16, width=17, fit="stretch")
# Letters burned into a film must still be letters, so films are not decoded smaller than this.
_DECODE_SIDE = 256
_QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_LEVELS = np.arange(256) / 255
# JPEG makes black up to a few levels bright.
_BLACK_LEVEL = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """What is known of N readable films.

    `thumbnails` uint8 (N, 32, 32); `hash_films` uint8 (N, 16, 17); `grey` float64 (N, 9): mean, standard deviation and
    seven quantiles of the grey values, 0–1; `margins` float64 (N, 4): black rows or columns at top, bottom, left,
    right as a share of the side; `prints` uint8 (N, 4, 196): thin bright marks in the corners, as bits; `text_lines`
    counts lines of burned-in lettering; `file_bytes`, `height`, `width` (stored, pixels) and `bits` are int64 (N,);
    `model` is the stored colour model ("grey", "RGB", …), `kind` the file format; `has_hue` whether there is real
    colour; `digests` SHA-256. Labels, splits and patients are object arrays.
    """

    root: Path
    records: tuple[ImageRecord, ...]
    classes: tuple[str, ...]
    is_multi_label: bool
    unreadable: tuple[tuple[ImageRecord, str], ...]
    thumbnails: npt.NDArray[np.uint8]
    hash_films: npt.NDArray[np.uint8]
    grey: Floats
    margins: Floats
    prints: npt.NDArray[np.uint8]
    text_lines: Integers
    file_bytes: Integers
    height: Integers
    width: Integers
    bits: Integers
    model: Column
    kind: Column
    has_hue: Flags
    digests: Column
    label: Column
    split: Column
    patient: Column

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """How findings call film `index`: its path below the data set."""
        return relative_name(self.records[index].path, self.root)

    def names(self, indices: Sequence[int] | Integers) -> tuple[str, ...]:
        """`name` of several films."""
        return tuple(self.name(int(index)) for index in indices)

    def select(self, films: Integers) -> Scan:
        """The scan of these readable films only, in this order."""
        columns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        arrays: dict[str, Any] = {n: column[films] for n, column in columns.items() if isinstance(column, np.ndarray)}
        return dataclasses.replace(self, records=tuple(self.records[int(film)] for film in films), **arrays)

    def with_splits(self, splits: Sequence[str]) -> Scan:
        """The same films, divided otherwise."""
        records = tuple(dataclasses.replace(r, split=split) for r, split in zip(self.records, splits, strict=True))
        return dataclasses.replace(self, records=records, split=text_column(splits))

    def splits(self) -> list[str]:
        """The splits that have films, in the order train, validation, test, undivided."""
        present = set(self.split)
        return [split for split in ("train", "validation", "test", "") if split in present]

    def files_table(self) -> dict[str, Column]:
        """One row a film: the fingerprint list that recognises these films elsewhere, and the facts of each file."""
        return {
            "path": np.array(self.names(range(len(self))), dtype=object),
            "label": self.label,
            "patient": self.patient,
            "split": self.split,
            "sha256": self.digests,
            "difference_hash": np.array([row.hex() for row in packed_hashes(self.hash_films)], dtype=object),
            "file_bytes": self.file_bytes,
            "height": self.height,
            "width": self.width,
            "bits": self.bits,
            "colour_model": self.model,
            "mean": self.grey[:, 0].round(4),
            "standard_deviation": self.grey[:, 1].round(4),
        }


def scan_films(intake: Intake, root: Path) -> Scan:
    """Read every film of `intake` once, in parallel; a film that cannot be read is listed, never a stop."""
    with ThreadPoolExecutor(WORKERS) as pool:
        looked = pool.map(_look, intake.records)
        rows = list(progress.track(looked, total=len(intake.records), what="Looking at films"))
    pairs = list(zip(intake.records, rows, strict=True))
    films = [(record, row) for record, row in pairs if not isinstance(row, str)]
    records = tuple(record for record, _ in films)
    return Scan(
        root=root,
        records=records,
        classes=intake.classes,
        is_multi_label=intake.is_multi_label,
        unreadable=tuple((record, row) for record, row in pairs if isinstance(row, str)),
        label=text_column([record.label for record in records]),
        split=text_column([record.split for record in records]),
        patient=text_column([record.patient for record in records]),
        **_columns([row for _, row in films]),
    )


def relative_name(path: Path, root: Path) -> str:
    """`path` below `root` where it is, else as it was given; POSIX form."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def pixel_rows(films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Films uint8 (N, …) as rows float32 (N, pixels), 0–1."""
    return films.reshape(len(films), -1).astype(np.float32) / np.float32(255)


def standard_rows(films: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Films (N, …) as rows float32 (N, pixels) of mean 0 and length 1: the product of two rows is their correlation."""
    rows = films.reshape(len(films), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return rows


def hash_bits(hash_films: npt.NDArray[np.uint8]) -> Flags:
    """256-bit difference hash: is a cell brighter than its left neighbour? bool (N, 256) from uint8 (N, 16, 17).

    The idea of comparing neighbours is Krawetz 2013 ("Kind of like that"); 256 bits because 64 are too few for
    radiographs, which all look alike.
    """
    height, width = hash_films.shape[1:]
    return np.asarray((hash_films[:, :, 1:] > hash_films[:, :, :-1]).reshape(len(hash_films), height * (width - 1)))


def packed_hashes(hash_films: npt.NDArray[np.uint8]) -> list[bytes]:
    """The difference hash of each film (N, 16, 17) as 32 bytes."""
    return [row.tobytes() for row in np.packbits(hash_bits(hash_films), axis=1)]


def _look(record: ImageRecord) -> dict[str, Any] | str:
    try:
        content = record.path.read_bytes()
    except OSError as error:
        return f"cannot be opened: {error.strerror or error}"
    try:
        film = decode_bytes(content, name=record.path.name, at_least=_DECODE_SIDE)
        small = {
            "thumbnails": prepare(film, THUMBNAIL, name=record.path.name),
            "hash_films": prepare(film, HASH_FILM, name=record.path.name),
        }
    except UnreadableImage as error:
        return error.message
    kind = sniff(content[:HEAD_BYTES])
    return {
        **small,
        **_pixel_facts(film.pixels),
        **_file_facts(film),
        # The header of a DICOM film grows with the patient's name; no model sees it.
        "file_bytes": pixel_bytes(content) if kind == "dicom" else len(content),
        "kind": kind,
        "digests": hashlib.sha256(content).hexdigest(),
    }


def _pixel_facts(pixels: npt.NDArray[np.float32]) -> dict[str, Any]:
    film = np.rint(pixels * 255).astype(np.uint8)
    shares = np.bincount(film.ravel(), minlength=256) / film.size
    mean = float(shares @ _LEVELS)
    spread = float(np.sqrt(shares @ (_LEVELS - mean) ** 2))
    quantiles = _LEVELS[np.searchsorted(np.cumsum(shares), np.array(_QUANTILES) - 1e-9)]
    return {
        "grey": np.array([mean, spread, *quantiles]),
        "margins": _black_margins(film),
        "prints": corner_prints(film),
        "text_lines": count_text_lines(film),
    }


def _black_margins(film: npt.NDArray[np.uint8]) -> Floats:
    rows = film.max(axis=1) > _BLACK_LEVEL
    columns = film.max(axis=0) > _BLACK_LEVEL
    if not rows.any():
        return np.ones(4)
    return np.array([_leading(rows), _leading(rows[::-1]), _leading(columns), _leading(columns[::-1])])


def _leading(has_light: Flags) -> float:
    return float(np.argmax(has_light)) / has_light.size


def _file_facts(film: PixelImage) -> dict[str, Any]:
    models = [fact.split()[2] for fact in film.facts if fact.startswith("colour model ")]
    return {
        "height": film.stored_height,
        "width": film.stored_width,
        "bits": film.bits,
        "model": models[0] if models else "grey",
        "has_hue": any(fact.startswith("real colour") for fact in film.facts),
    }


_DTYPES: dict[str, Any] = {
    "thumbnails": np.uint8,
    "hash_films": np.uint8,
    "grey": np.float64,
    "margins": np.float64,
    "prints": np.uint8,
    "text_lines": np.int64,
    "file_bytes": np.int64,
    "height": np.int64,
    "width": np.int64,
    "bits": np.int64,
    "model": object,
    "kind": object,
    "has_hue": np.bool_,
    "digests": object,
}
_EMPTY_SHAPES = {
    "thumbnails": (0, 32, 32),
    "hash_films": (0, 16, 17),
    "grey": (0, 9),
    "margins": (0, 4),
    "prints": (0, len(CORNERS), PACKED_BYTES),
}


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {name: np.empty(_EMPTY_SHAPES.get(name, (0,)), dtype=dtype) for name, dtype in _DTYPES.items()}
    return {name: np.array([row[name] for row in rows], dtype=dtype) for name, dtype in _DTYPES.items()}
