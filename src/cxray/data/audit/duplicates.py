"""The same film twice: byte for byte, pixel for pixel, or re-encoded, resized, brightened, mirrored, cropped.

A hash proposes, correlation disposes. A 256-bit difference hash proposes pairs within a generous distance, because
on radiographs every short hash cries wolf; thumbnails must then correlate; and what is left is decoded once more, and
its fine detail must correlate too, which films of two exposures never do, however alike the anatomy.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.audit.exposures import CARD, detail_correlation
from cxray.data.audit.findings import Finding, count_of, percent
from cxray.data.audit.scan import Flags, Floats, Integers, Scan, hash_bits, standard_rows
from cxray.data.cache import WORKERS
from cxray.data.prepare import prepare_file
from cxray.errors import UnreadableImage
from cxray.records import ImageRecord
from cxray.tables import Column

# Of 256 bits. Re-encoding, resizing, brightness and gamma change at most some 22; strangers come as near.
_HASH_DISTANCE = 24
# Thumbnails of strangers reach 0.98; copies fall to 0.985 by gamma or brightness, to 0.95 when cropped by 2 %.
_THUMBNAIL_CORRELATION = 0.955
# Some 5 ms each; the most alike come first.
_MOST_CANDIDATES = 5_000
_BLOCK_CELLS = 1 << 24

# Correlation of fine detail, as the films lie, from which they are the same exposure, and from which they may be; and
# the same at any place nearby, for cropped copies. Measured: the most alike strangers reach 0.44 as they lie and 0.52
# anywhere on films of children (224 pixels a side, 17 million pairs), 0.60 and 0.68 on phantoms of 96 pixels, two films
# of one phantom 0.60 and 0.85; copies at half size in JPEG quality 30 keep 0.71, brightened 0.97, cropped by 2 % 0.96.
SAME_FILM = 0.75
NEAR_FILM = 0.65
SAME_FILM_MOVED = 0.92


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two films, by index, first < second. `kind`: "file" (same bytes), "copy" (same exposure, changed), "near".

    `thumbnail` and `detail` (the highest nearby) are correlations, 1 for equal files; `is_mirrored` says that one shows
    the other's mirror image.
    """

    first: int
    second: int
    kind: str
    thumbnail: float = 1.0
    detail: float = 1.0
    is_mirrored: bool = False


def find_pairs(scan: Scan) -> list[Pair]:
    """All pairs of films that are, or may be, the same exposure; sorted by index."""
    exact = list(_same_files(scan))
    representatives = _first_of_each_file(scan)
    found = [*exact, *_confirm(scan, _propose(scan, representatives))]
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def check_duplicates(scan: Scan, pairs: Sequence[Pair]) -> list[Finding]:
    """Findings on duplicates within and across splits, near duplicates and contradicting labels."""
    same = [pair for pair in pairs if pair.kind != "near"]
    near = [pair for pair in pairs if pair.kind == "near"]
    across = [pair for pair in same if _crosses(scan.split, pair)]
    within = [pair for pair in same if not _crosses(scan.split, pair)]
    contradicting = [pair for pair in same if _truth(scan, pair.first) != _truth(scan, pair.second)]
    two_patients = [pair for pair in same if _crosses(scan.patient, pair)]
    findings = [
        _across(scan, across),
        _within(scan, within),
        _contradicting(scan, contradicting),
        _two_patients(scan, two_patients),
        _near(scan, near),
    ]
    return [finding for finding in findings if finding is not None]


def pairs_table(scan: Scan, pairs: Sequence[Pair]) -> dict[str, Column]:
    """One row a pair."""
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    return {
        "first": np.array(scan.names(first), dtype=object),
        "second": np.array(scan.names(second), dtype=object),
        "kind": np.array([pair.kind for pair in pairs], dtype=object),
        "is_mirrored": np.array([pair.is_mirrored for pair in pairs], dtype=np.int64),
        "thumbnail_correlation": np.array([pair.thumbnail for pair in pairs], dtype=np.float64).round(4),
        "detail_correlation": np.array([pair.detail for pair in pairs], dtype=np.float64).round(4),
        "first_split": scan.split[first],
        "second_split": scan.split[second],
        "first_label": scan.label[first],
        "second_label": scan.label[second],
    }


def groups_of(pairs: Sequence[Pair]) -> list[list[int]]:
    """Films joined by pairs, directly or over others; each group sorted, groups by their first film."""
    parent: dict[int, int] = {}

    def top(film: int) -> int:
        while parent.setdefault(film, film) != film:
            film = parent[film]
        return film

    for pair in pairs:
        high, low = sorted((top(pair.first), top(pair.second)), reverse=True)
        parent[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for film in sorted(parent):
        groups[top(film)].append(film)
    return list(groups.values())


def _same_files(scan: Scan) -> Iterator[Pair]:
    films: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(scan.digests):
        films[str(digest)].append(index)
    for group in films.values():
        # A film that is there a hundred times is 99 pairs with its first copy, not 4,950.
        yield from (Pair(group[0], other, "file") for other in group[1:])


def _first_of_each_file(scan: Scan) -> Integers:
    return np.sort(np.unique(scan.digests.astype(str), return_index=True)[1])


@dataclasses.dataclass(frozen=True)
class _Candidates:
    first: Integers
    second: Integers
    thumbnail: Floats
    is_mirrored: Flags


def _propose(scan: Scan, films: Integers) -> _Candidates:
    """Pairs near in hash and alike as thumbnails, most alike first."""
    hashes = scan.hash_films[films]
    thumbnails = scan.thumbnails[films]
    found = []
    for mirror in (False, True):
        first, second = _near_hashes(hashes, hashes[:, :, ::-1] if mirror else hashes)
        left = standard_rows(thumbnails)
        right = standard_rows(thumbnails[:, :, ::-1]) if mirror else left
        correlation = _row_products(left, right, first, second)
        keep = correlation >= _THUMBNAIL_CORRELATION
        mirrored = np.full(int(keep.sum()), mirror)
        found.append((films[first[keep]], films[second[keep]], correlation[keep], mirrored))
    joined = [np.concatenate(columns) for columns in zip(*found, strict=True)]
    best = np.argsort(-joined[2], kind="stable")[:_MOST_CANDIDATES]
    return _Candidates(*(column[best] for column in joined))


def _near_hashes(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> tuple[Integers, Integers]:
    """Positions i < j with at most `_HASH_DISTANCE` bits between left[i] and right[j]."""
    one, two = _signs(left), _signs(right)
    block = max(1, _BLOCK_CELLS // max(1, len(one)))
    # The product of two ±1 vectors of 256 bits is 256 minus twice their distance.
    wanted = one.shape[1] - 2 * _HASH_DISTANCE
    found: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(one), block):
        row, column = np.nonzero(one[start : start + block] @ two[start:].T >= wanted)
        later = column > row
        found.append(np.column_stack([row[later], column[later]]) + start)
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    return pairs[:, 0], pairs[:, 1]


def _signs(hash_films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.where(hash_bits(hash_films), np.float32(1), np.float32(-1))


def _row_products(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32], first: Integers, second: Integers
) -> Floats:
    # In slices: a hundred thousand proposals would otherwise copy a hundred million pixels at once.
    parts = [
        np.einsum("ij,ij->i", left[first[start : start + 8192]], right[second[start : start + 8192]])
        for start in range(0, len(first), 8192)
    ]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def _confirm(scan: Scan, candidates: _Candidates) -> Iterator[Pair]:
    needed = np.unique(np.concatenate([candidates.first, candidates.second])).tolist()
    pairs = list(zip(candidates.first.tolist(), candidates.second.tolist(), candidates.is_mirrored, strict=True))
    with ThreadPoolExecutor(WORKERS) as pool:
        films = dict(zip(needed, pool.map(_film, [scan.records[index] for index in needed]), strict=True))
        details = list(pool.map(lambda pair: _compare(films[pair[0]], films[pair[1]], is_mirrored=pair[2]), pairs))
    for (first, second, is_mirrored), thumbnail, (in_place, anywhere) in zip(
        pairs, candidates.thumbnail, details, strict=True
    ):
        if anywhere >= SAME_FILM_MOVED or in_place >= NEAR_FILM:
            kind = "copy" if anywhere >= SAME_FILM_MOVED or in_place >= SAME_FILM else "near"
            yield Pair(first, second, kind, float(thumbnail), anywhere, bool(is_mirrored))


def _film(record: ImageRecord) -> npt.NDArray[np.uint8] | None:
    try:
        return prepare_file(record.path, CARD)
    except UnreadableImage:  # it was readable a moment ago; somebody is changing the folder
        return None


def _compare(
    one: npt.NDArray[np.uint8] | None, two: npt.NDArray[np.uint8] | None, *, is_mirrored: bool
) -> tuple[float, float]:
    if one is None or two is None:
        return 0.0, 0.0
    return detail_correlation(one, np.ascontiguousarray(two[:, ::-1]) if is_mirrored else two)


def _crosses(column: Column, pair: Pair) -> bool:
    return bool(column[pair.first] != column[pair.second])


def _truth(scan: Scan, index: int) -> tuple[Any, ...]:
    record = scan.records[index]
    return (record.label, *sorted(record.findings.items()))


def _evidence(scan: Scan, pairs: Sequence[Pair]) -> dict[str, Any]:
    groups = groups_of(pairs)
    return {
        "groups": len(groups),
        "films": sum(map(len, groups)),
        "pairs_by_kind": {kind: sum(pair.kind == kind for pair in pairs) for kind in ("file", "copy", "near")},
        "mirrored_pairs": sum(pair.is_mirrored for pair in pairs),
        "examples": [list(scan.names(group)) for group in groups[:20]],
    }


def _files(scan: Scan, pairs: Sequence[Pair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(scan.name(film) for group in groups_of(pairs) for film in group))


def _across(scan: Scan, pairs: Sequence[Pair]) -> Finding | None:
    if not pairs:
        return None
    combinations = sorted({" and ".join(sorted((scan.split[p.first], scan.split[p.second]))) for p in pairs})
    return Finding(
        "duplicate-across-splits",
        "error",
        f"{count_of(len(groups_of(pairs)), 'film')} found in more than one split ({'; '.join(combinations)}): "
        "what is tested was learned.",
        {**_evidence(scan, pairs), "splits": combinations},
        "Remove the copies from train and validation; leave the test films alone.",
        _files(scan, pairs),
    )


def _within(scan: Scan, pairs: Sequence[Pair]) -> Finding | None:
    if not pairs:
        return None
    groups = groups_of(pairs)
    share = {
        str(split): sum(len(group) - 1 for group in groups if scan.split[group[0]] == split)
        / (scan.split == split).sum()
        for split in set(scan.split)
    }
    worst = max(share.values())
    return Finding(
        "duplicate-within-split",
        "warning" if worst >= 0.01 else "info",
        f"{count_of(len(groups), 'film')} found more than once in the same split (up to {percent(worst)} of a split).",
        {**_evidence(scan, pairs), "share_of_spare_copies": share},
        "Keep one film of each group: copies count twice in every figure and interval.",
        _files(scan, pairs),
    )


def _contradicting(scan: Scan, pairs: Sequence[Pair]) -> Finding | None:
    if not pairs:
        return None
    return Finding(
        "duplicate-contradicting-labels",
        "error",
        f"{count_of(len(groups_of(pairs)), 'film')} found with two different labels.",
        _evidence(scan, pairs),
        "Have these films read again, or remove all their copies: one of the labels is wrong.",
        _files(scan, pairs),
    )


def _two_patients(scan: Scan, pairs: Sequence[Pair]) -> Finding | None:
    if not pairs:
        return None
    return Finding(
        "duplicate-across-patients",
        "info",
        f"{count_of(len(groups_of(pairs)), 'film')} found under the names of two patients: one name is wrong, or the "
        "reading of names splits one patient.",
        _evidence(scan, pairs),
        "Join these patients in a 'patient' column.",
        _files(scan, pairs),
    )


def _near(scan: Scan, pairs: Sequence[Pair]) -> Finding | None:
    if not pairs:
        return None
    crossing = sum(_crosses(scan.split, pair) for pair in pairs)
    return Finding(
        "near-duplicate",
        "warning" if crossing else "info",
        f"{count_of(len(pairs), 'pair')} of films may be the same exposure, processed differently"
        f"{f'; {crossing:,} of them cross splits' if crossing else ''}.",
        {**_evidence(scan, pairs), "pairs_across_splits": crossing},
        "Look at the pairs (tables/pairs.csv); treat those that are one film as duplicates.",
        _files(scan, pairs),
    )
