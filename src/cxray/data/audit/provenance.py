"""Are these films known from somewhere? A table of fingerprints answers, whatever the folder is called now.

Every audit writes `tables/films.csv` with the SHA-256 and the 256-bit difference hash of each film. Given such tables
of other sets, an audit says which films it has met before: an "external" set that holds training films is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxray.data.audit.findings import Finding, count_of, percent
from cxray.data.audit.scan import Flags, Scan, hash_bits
from cxray.errors import DataError
from cxray.tables import Column, read_table

# Of 256 bits. Without the pixels of the known film nothing can dispose, so the hash must be very near. Measured: no two
# different films of children are nearer than 5, two films of one phantom at 96 pixels may be at 4; JPEG at quality 75
# changes no bit, half the size at most 2 in 95 of 100 films. Stronger changes escape: this is a lower limit.
_HASH_DISTANCE = 2
_BLOCK_CELLS = 1 << 24
_NEEDED = ("path", "sha256", "difference_hash")


def check_known(scan: Scan, tables: Sequence[Path]) -> list[Finding]:
    """One finding for each table of fingerprints whose films turn up here.

    Raises:
        DataError: a table has no fingerprints.
    """
    found = [_recognise(scan, path) for path in tables]
    return [finding for finding in found if finding is not None]


def _recognise(scan: Scan, path: Path) -> Finding | None:
    table = read_table(path)
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}, so it is no table of fingerprints.",
            "Give the tables/films.csv that an audit of the other data set wrote.",
        )
    same_file = np.isin(scan.digests.astype(str), table["sha256"].astype(str))
    nearest = _nearest(hash_bits(scan.hash_films), _unpack(table["difference_hash"], path))
    is_known = same_file | (nearest >= 0)
    if not is_known.any():
        return None
    pairs = [
        [scan.name(int(i)), str(table["path"][nearest[i]]) if nearest[i] >= 0 else "same file"]
        for i in np.flatnonzero(is_known)[:20]
    ]
    return Finding(
        "known-films",
        "warning",
        f"{count_of(int(is_known.sum()), 'film')} ({percent(float(is_known.mean()))}) are already in {path.name}: the "
        "two sets are not independent.",
        {"table": path.name, "films": int(is_known.sum()), "same_files": int(same_file.sum()), "examples": pairs},
        "Leave these films out before calling one set external to the other.",
        scan.names(np.flatnonzero(is_known)),
    )


def _unpack(column: Column, path: Path) -> Flags:
    try:
        rows = [np.frombuffer(bytes.fromhex(str(cell)), dtype=np.uint8) for cell in column]
        return np.unpackbits(np.stack(rows), axis=1).astype(bool)
    except ValueError as error:
        raise DataError(
            f"{path}: column 'difference_hash' holds something else than hashes.", "Audit again."
        ) from error


def _nearest(here: Flags, known: Flags) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """For each film here the row of a known film within the distance, -1 when there is none."""
    if known.shape[1] != here.shape[1]:
        raise DataError(
            f"Fingerprints of {known.shape[1]} bits cannot be compared with {here.shape[1]}.", "Audit again."
        )
    signs = np.where(known, np.float32(1), np.float32(-1)).T
    block = max(1, _BLOCK_CELLS // max(1, signs.shape[1]))
    found = np.full(len(here), -1, dtype=np.int64)
    for start in range(0, len(here), block):
        likeness = np.where(here[start : start + block], np.float32(1), np.float32(-1)) @ signs
        best = likeness.argmax(axis=1)
        is_near = likeness[np.arange(len(best)), best] >= here.shape[1] - 2 * _HASH_DISTANCE
        found[start : start + block] = np.where(is_near, best, -1)
    return found
