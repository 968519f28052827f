"""The same film twice: byte for byte, or re-encoded, resized, brightened, mirrored, turned, cropped.

A fingerprint proposes, correlation disposes. Coordinates that no turn and no mirror changes propose pairs within a
generous distance; thumbnails, laid straight, must then correlate; and what is left is decoded once more, and its fine
detail must correlate too, which films of two exposures never do, however alike the anatomy.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.data.audit.exposures import CARD, detail_correlation, laid_straight
from cxray.data.audit.findings import Finding, count_of, percent
from cxray.data.audit.scan import Integers, Scan
from cxray.data.audit.turns import Turns, best_turns, circles_of, near_pairs
from cxray.data.cache import WORKERS
from cxray.data.prepare import prepare_file
from cxray.errors import UnreadableImage
from cxray.records import ImageRecord
from cxray.tables import Column

# Thumbnails of strangers reach 0.98; copies fall to 0.99 by gamma, turning or brightness, to 0.96 when cropped by 2 %.
_THUMBNAIL_CORRELATION = 0.96
# Some 5 ms each; the most alike come first.
_MOST_CANDIDATES = 20_000
_PORTION = 500

# Correlation of fine detail, as the films lie, from which they are the same exposure, and from which they may be; and
# the same at any place nearby, for cropped copies. Measured: the most alike strangers reach 0.44 as they lie and 0.52
# anywhere on films of children (224 pixels a side, 17 million pairs), 0.60 and 0.68 on phantoms of 96 pixels, two films
# of one phantom 0.60 and 0.85; copies at half size in JPEG quality 30 keep 0.71, brightened 0.97, cropped by 2 % 0.96.
SAME_FILM = 0.75
NEAR_FILM = 0.65
SAME_FILM_MOVED = 0.92
# After a turn by part of a quarter, as the films lie then: copies keep 0.85 (0.91 at 5 degrees on films of 4:3), two
# films of one phantom patient, laid straight, come to 0.78.
SAME_FILM_TURNED = 0.85
NEAR_FILM_TURNED = 0.80

# Degrees. A cropped film may seem turned by this much, so it is tried as it lies, too; less than the second is none.
_SMALL_TURN = 3.0
_STRAIGHT = 0.35


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two films, by index, first < second. `kind`: "file" (same bytes), "copy" (same exposure, changed), "near".

    `thumbnail` and `detail` (the highest nearby) are correlations, 1 for equal files. To lie as the first, the second
    is mirrored left to right when `is_mirrored`, then turned by `degrees` counter-clockwise.
    """

    first: int
    second: int
    kind: str
    thumbnail: float = 1.0
    detail: float = 1.0
    is_mirrored: bool = False
    degrees: float = 0.0


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
        "degrees": np.array([pair.degrees for pair in pairs], dtype=np.float64),
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
    turns: Turns


def _propose(scan: Scan, films: Integers) -> _Candidates:
    """Pairs that are near and alike as thumbnails once laid straight, most alike first."""
    circles = circles_of(scan.thumbnails[films])
    first, second = near_pairs(circles)
    turns = best_turns(circles, first, second)
    alike = np.flatnonzero(turns.correlation >= _THUMBNAIL_CORRELATION)
    best = alike[np.argsort(-turns.correlation[alike], kind="stable")][:_MOST_CANDIDATES]
    return _Candidates(films[first[best]], films[second[best]], turns.select(best))


def _confirm(scan: Scan, candidates: _Candidates) -> Iterator[Pair]:
    """Look at both films again, a portion of the pairs at a time, so that memory does not grow with their number."""
    for start in range(0, len(candidates.first), _PORTION):
        part = range(start, min(start + _PORTION, len(candidates.first)))
        needed = sorted({int(end[k]) for k in part for end in (candidates.first, candidates.second)})
        with ThreadPoolExecutor(WORKERS) as pool:
            films = dict(zip(needed, pool.map(_film, [scan.records[index] for index in needed]), strict=True))
            yield from filter(None, pool.map(functools.partial(_compare, scan, films, candidates), part))


def _film(record: ImageRecord) -> npt.NDArray[np.uint8] | None:
    try:
        return prepare_file(record.path, CARD)
    except UnreadableImage:  # it was readable a moment ago; somebody is changing the folder
        return None


def _compare(
    scan: Scan, films: Mapping[int, npt.NDArray[np.uint8] | None], candidates: _Candidates, k: int
) -> Pair | None:
    first, second = int(candidates.first[k]), int(candidates.second[k])
    one, two = films[first], films[second]
    if one is None or two is None:
        return None
    thumbnail, is_mirrored = float(candidates.turns.correlation[k]), bool(candidates.turns.is_mirrored[k])
    aspect = float(scan.width[second] / scan.height[second])
    for degrees, near, same in _ways_to_lie(float(candidates.turns.degrees[k])):
        straight = laid_straight(two, degrees, is_mirrored=is_mirrored, width_over_height=aspect)
        in_place, anywhere = detail_correlation(one, straight)
        if anywhere >= SAME_FILM_MOVED or in_place >= near:
            kind = "copy" if anywhere >= SAME_FILM_MOVED or in_place >= same else "near"
            return Pair(first, second, kind, thumbnail, anywhere, is_mirrored=is_mirrored, degrees=degrees)
    return None


def _ways_to_lie(degrees: float) -> Iterator[tuple[float, float, float]]:
    """Turns to try, each with its limits: by whole quarters, and as the thumbnails say."""
    quarters = 90.0 * round(degrees / 90)
    rest = abs(degrees - quarters)
    if rest < _SMALL_TURN:
        yield quarters % 360, NEAR_FILM, SAME_FILM
    if rest >= _STRAIGHT:
        yield round(degrees, 1), NEAR_FILM_TURNED, SAME_FILM_TURNED


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
        "turned_pairs": sum(pair.degrees != 0 for pair in pairs),
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
