"""Prepared films on disk, so that decoding is paid once.

One array file holds one set of films at one input card: `<cache>/<card>/<set>.npy`, uint8 (films, height, width),
opened memory-mapped, beside `<set>.json`, which lists the SHA-256 of each row's file and is written last. Films
that another array of the same card already holds are copied from there. Keys are contents, never names or dates, so
a renamed film is a hit and a changed one a miss; since an array is written under a temporary name and renamed, two
processes may build the same one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import config, progress
from cxray.config import InputCard
from cxray.data.prepare import prepare_file
from cxray.errors import OutputError, UnreadableImage
from cxray.records import ImageRecord
from cxray.rundir import atomic_path, file_sha256, write_json

WORKERS = os.cpu_count() or 1


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedFilms:
    """Prepared films in the order of the records that were asked for.

    `films` is uint8 (rows, height, width), usually memory-mapped. `row_of[i]` is the row of record i, -1 when it could
    not be read; `errors` then says why. `digests` is the SHA-256 of each record's file ("" when it cannot be opened).
    """

    films: npt.NDArray[np.uint8]
    row_of: npt.NDArray[np.int64]
    errors: Mapping[int, str]
    digests: tuple[str, ...]

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8 (n, height, width) of the records `indices`, all of which must be readable."""
        return np.asarray(self.films[self.row_of[indices]])


def cache_folder() -> Path:
    """Where prepared films are kept: `CXRAY_CACHE`, else `XDG_CACHE_HOME/cxray`, else `~/.cache/cxray`."""
    if os.environ.get("CXRAY_CACHE"):
        return Path(os.environ["CXRAY_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxray"


def prepare_all(records: Sequence[ImageRecord], card: InputCard, folder: Path | None = None) -> PreparedFilms:
    """Prepared arrays for `records`, from the cache where possible.

    A film that cannot be read is listed in `errors`. A cache that cannot be written costs a warning and memory,
    never the work.
    """
    digests = _in_parallel(_digest, [record.path for record in records], "Reading films")
    wanted = {digest: record.path for digest, record in zip(digests, records, strict=True) if digest}
    store = (folder or cache_folder()) / config.fingerprint(card)[:16]
    entry = _Entry.named(store, wanted)
    found = entry.find()
    films, rows, failed = found if found else _build(entry, wanted, card).load()
    row_of = np.array([rows.get(digest, -1) for digest in digests], dtype=np.int64)
    errors = {
        index: failed.get(digest, f"{records[index].path} cannot be opened.")
        for index, digest in enumerate(digests)
        if row_of[index] < 0
    }
    return PreparedFilms(films, row_of, errors, tuple(digests))


def decode_all(records: Sequence[ImageRecord], card: InputCard) -> Iterator[npt.NDArray[np.uint8] | str]:
    """Prepare every film now, without the cache, in order: the array, or the reason why there is none."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(lambda record: _prepare_or_reason(record.path, card), records)


def clear_cache(folder: Path | None = None) -> tuple[int, int]:
    """Delete all prepared films; returns how many files and bytes went."""
    files, size = _own_files(folder)
    for parent in {path.parent for path in files}:
        shutil.rmtree(parent, ignore_errors=True)
    return len(files), size


def measure_cache(folder: Path | None = None) -> tuple[int, int]:
    """How many files and bytes of prepared films there are."""
    files, size = _own_files(folder)
    return len(files), size


def _own_files(folder: Path | None) -> tuple[list[Path], int]:
    files = [path for path in (folder or cache_folder()).glob("*/*") if path.suffix in (".npy", ".json", ".part")]
    return files, sum(path.stat().st_size for path in files)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One array with its list of rows; in memory when the cache cannot be written."""

    array: Path
    listing: Path
    memory: tuple[npt.NDArray[np.uint8], dict[str, int], dict[str, str]] | None = None

    @classmethod
    def named(cls, store: Path, digests: Mapping[str, Path]) -> _Entry:
        key = hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:32]
        return cls(store / f"{key}.npy", store / f"{key}.json")

    def find(self) -> tuple[npt.NDArray[np.uint8], dict[str, int], dict[str, str]] | None:
        """The entry, or None when there is none, it is damaged, or another process is clearing it."""
        try:
            return self.load()
        except (OSError, ValueError, KeyError):
            return None

    def load(self) -> tuple[npt.NDArray[np.uint8], dict[str, int], dict[str, str]]:
        if self.memory is not None:
            return self.memory
        listing = json.loads(self.listing.read_text("utf-8"))
        films = np.load(self.array, mmap_mode="r", allow_pickle=False)
        return films, {digest: row for row, digest in enumerate(listing["rows"])}, listing["failed"]


def _build(entry: _Entry, wanted: Mapping[str, Path], card: InputCard) -> _Entry:
    known = _known_rows(entry.array.parent, set(wanted))
    missing = [digest for digest in wanted if digest not in known]
    failed: dict[str, str] = {}
    rows: list[str] = []

    def fill(target: npt.NDArray[np.uint8]) -> int:
        for digest, (films, row) in known.items():
            target[len(rows)] = films[row]
            rows.append(digest)
        prepared = _in_parallel(lambda d: _prepare_or_reason(wanted[d], card), missing, "Preparing films", lazy=True)
        for digest, film in zip(missing, prepared, strict=True):
            if isinstance(film, str):
                failed[digest] = film
            else:
                target[len(rows)] = film
                rows.append(digest)
        return len(rows)

    shape = (len(wanted), card.height, card.width)
    try:
        _write_array(entry.array, shape, fill)
        write_json(entry.listing, {"schema": 1, "rows": rows, "failed": failed})
    except OutputError as error:
        progress.say(f"Warning: the cache cannot be used, films stay in memory. {error}")
        rows.clear()
        failed.clear()
        films = np.zeros(shape, dtype=np.uint8)
        filled = fill(films)
        memory = (films[:filled], {digest: row for row, digest in enumerate(rows)}, failed)
        return dataclasses.replace(entry, memory=memory)
    return entry


def _write_array(path: Path, shape: tuple[int, ...], fill: Callable[[npt.NDArray[np.uint8]], int]) -> None:
    """Fill a memory-mapped array under a temporary name, cut it to the rows used, rename it."""
    with atomic_path(path) as temporary:
        offset = _write_header(temporary, shape)
        with temporary.open("r+b") as stream:
            # Blocks are claimed now: a full disk must be an error here, not a bus error while the map is written.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, offset + max(1, math.prod(shape)))
            else:
                stream.truncate(offset + max(1, math.prod(shape)))
        mapped = np.memmap(temporary, dtype=np.uint8, mode="r+", offset=offset, shape=shape)
        used = fill(mapped)
        mapped.flush()
        if used < shape[0]:
            # NumPy pads the header so that a smaller first axis keeps its length.
            _write_header(temporary, (used, *shape[1:]))
            os.truncate(temporary, offset + used * math.prod(shape[1:]))


def _write_header(path: Path, shape: tuple[int, ...]) -> int:
    """Write the .npy header at the start of the file; returns where the data begin, in bytes."""
    with path.open("r+b") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        return stream.tell()


def _known_rows(store: Path, wanted: set[str]) -> dict[str, tuple[npt.NDArray[np.uint8], int]]:
    """Where other arrays of the same card already hold wanted films."""
    known: dict[str, tuple[npt.NDArray[np.uint8], int]] = {}
    for listing in sorted(store.glob("*.json")):
        found = _Entry(listing.with_suffix(".npy"), listing).find()
        if found is None:
            continue
        films, rows, _ = found
        known.update({digest: (films, row) for digest, row in rows.items() if digest in wanted})
    return known


def _prepare_or_reason(path: Path, card: InputCard) -> npt.NDArray[np.uint8] | str:
    try:
        return prepare_file(path, card)
    except UnreadableImage as error:
        return str(error)


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return ""


def _in_parallel(function: Callable[[Any], Any], items: Sequence[Any], what: str, *, lazy: bool = False) -> Any:
    def run() -> Iterator[Any]:
        with ThreadPoolExecutor(WORKERS) as pool:
            yield from progress.track(pool.map(function, items), total=len(items), what=what)

    return run() if lazy else list(run())
