"""Prepared films on disk, so that decoding is paid once.

One listing, `<cache>/<card>/<set>.json`, names an array file, uint8 (films, height, width), opened memory-mapped, and
the SHA-256 of the film behind each row. The listing is the only commit point: it is written last, and its array has a
name of its own and is never replaced, so two processes may build the same set in any order of rows. Films that another
array of the same card already holds are copied from there. Keys are contents, never names or dates, so a renamed film
is a hit and a changed one a miss. A film that could not be read is tried again each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import config, progress
from cxray.config import InputCard
from cxray.data.dicom.admission import accepted_codes
from cxray.data.prepare import prepare_file
from cxray.errors import OutputError, UnreadableImage
from cxray.records import ImageRecord
from cxray.rundir import atomic_path, file_sha256, write_json

WORKERS = os.cpu_count() or 1
_OWN_FILE = re.compile(r"[0-9a-f]{16}/\.?[0-9a-f]{32}(-[0-9a-f]{8})?\.(npy|json)(\.\w+\.part)?")
_Rows = tuple[npt.NDArray[np.uint8], dict[str, int]]


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
    store = (folder or cache_folder()) / _store_name(card)
    listing = store / f"{hashlib.sha256(chr(10).join(sorted(wanted)).encode()).hexdigest()[:32]}.json"
    found = _load(listing)
    films, rows = found if found else _build(listing, wanted, card)
    row_of = np.array([rows.get(digest, -1) for digest in digests], dtype=np.int64)
    errors = {index: _why_not(records[index].path, card) for index in np.flatnonzero(row_of < 0).tolist()}
    return PreparedFilms(films, row_of, errors, tuple(digests))


def _store_name(card: InputCard) -> str:
    # Films that are only admitted on demand must not be found by somebody who does not ask for them.
    accepted = ",".join(sorted(accepted_codes()))
    name = config.fingerprint(card)
    return (hashlib.sha256(f"{name} {accepted}".encode()).hexdigest() if accepted else name)[:16]


def decode_all(records: Sequence[ImageRecord], card: InputCard) -> Iterator[npt.NDArray[np.uint8] | str]:
    """Prepare every film now, without the cache, in order: uint8 (height, width), or why there is no such array."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(lambda record: _prepare_or_reason(record.path, card), records)


def clear_cache(folder: Path | None = None) -> tuple[int, int]:
    """Delete all prepared films; returns how many files and bytes went."""
    files, size = _own_files(folder)
    for path in files:
        path.unlink(missing_ok=True)
    for parent in {path.parent for path in files}:
        with contextlib.suppress(OSError):  # another process is filling it again
            parent.rmdir()
    return len(files), size


def measure_cache(folder: Path | None = None) -> tuple[int, int]:
    """How many files and bytes of prepared films there are."""
    files, size = _own_files(folder)
    return len(files), size


def _own_files(folder: Path | None) -> tuple[list[Path], int]:
    """Files that only this module can have written: nobody else's folder is touched, whatever CXRAY_CACHE names."""
    files = [
        path
        for path in (folder or cache_folder()).glob("*/*")
        if _OWN_FILE.fullmatch(f"{path.parent.name}/{path.name}")
    ]
    sizes = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return files, sum(sizes)


def _load(listing: Path) -> _Rows | None:
    """Films and row of each digest, or None when there is no such entry, it is damaged or being cleared."""
    try:
        content = json.loads(listing.read_text("utf-8"))
        films = np.load(listing.parent / Path(content["array"]).name, mmap_mode="r", allow_pickle=False)
        if len(films) != len(content["rows"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return films, {digest: row for row, digest in enumerate(content["rows"])}


def _build(listing: Path, wanted: Mapping[str, Path], card: InputCard) -> _Rows:
    known = _known_rows(listing.parent, set(wanted))
    missing = [digest for digest in wanted if digest not in known]
    rows: list[str] = []

    def fill(target: npt.NDArray[np.uint8]) -> int:
        rows.clear()
        for digest, (films, row) in known.items():
            target[len(rows)] = films[row]
            rows.append(digest)
        prepared = _in_parallel(lambda d: _prepare_or_reason(wanted[d], card), missing, "Preparing films", lazy=True)
        for digest, film in zip(missing, prepared, strict=True):
            if not isinstance(film, str):
                target[len(rows)] = film
                rows.append(digest)
        return len(rows)

    shape = (len(wanted), card.height, card.width)
    array = listing.with_name(f"{listing.stem}-{uuid.uuid4().hex[:8]}.npy")
    try:
        _write_array(array, shape, fill)
        write_json(listing, {"schema": 2, "array": array.name, "rows": rows})
        films = np.load(array, mmap_mode="r", allow_pickle=False)
    except OutputError as error:
        progress.say(f"Warning: the cache cannot be used, films stay in memory. {error}")
        in_memory = np.zeros(shape, dtype=np.uint8)
        films = in_memory[: fill(in_memory)]
    return films, {digest: row for row, digest in enumerate(rows)}


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
        del mapped
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
        found = _load(listing)
        if found:
            films, rows = found
            known.update({digest: (films, row) for digest, row in rows.items() if digest in wanted})
    return known


def _why_not(path: Path, card: InputCard) -> str:
    result = _prepare_or_reason(path, card)
    return result if isinstance(result, str) else f"{path} could not be read a moment ago; it can be now. Run again."


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
