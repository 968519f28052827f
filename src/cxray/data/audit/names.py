"""What file names say, without knowing the data set: pieces, words, counters.

A name is cut at "-", "_", "." and blanks. Pieces that differ only in their digits share a template ("person#"). A
template with a single value ("normal2") is a word that happens to hold a digit; one with many ("person1946", "0115")
is a counter. Readings of who is one patient, the order of acquisition and strata such as "virus" are built from these.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

_SEPARATORS = re.compile(r"[-_. ]+")
_DIGITS = re.compile(r"\d+")
_MANY_VALUES = 10


@dataclasses.dataclass(frozen=True)
class NameParts:
    """One file name, cut up.

    `words` are the pieces with letters, with "#" for digits that vary; `counter` is the first piece that counts many
    things ("person12", "0115"), "" when none does; `place` is its position, -1 without one; `pieces` are all pieces.
    """

    pieces: tuple[str, ...]
    words: tuple[str, ...]
    counter: str
    place: int

    @property
    def number(self) -> int | None:
        """The number in the counter, or None."""
        found = _DIGITS.search(self.counter)
        return int(found.group()) if found else None

    @property
    def family(self) -> str:
        """Names that share it count with the same counter: all their words."""
        return "_".join(self.words)


def cut_names(texts: Sequence[str]) -> list[NameParts]:
    """Cut file names (without folder and ending) or patient names into parts, in order."""
    pieces = [tuple(piece for piece in _SEPARATORS.split(text.lower()) if piece) for text in texts]
    values: dict[str, set[str]] = defaultdict(set)
    for row in pieces:
        for piece in row:
            values[_DIGITS.sub("#", piece)].add(piece)
    return [_parts(row, {template: len(seen) for template, seen in values.items()}) for row in pieces]


def stems(paths: Sequence[Path]) -> list[str]:
    """File names without folder and ending."""
    return [path.name.rsplit(".", 1)[0] for path in paths]


def _parts(pieces: tuple[str, ...], values: Mapping[str, int]) -> NameParts:
    templates = [_DIGITS.sub("#", piece) for piece in pieces]
    words = tuple(
        template if "#" in template and values[template] > 1 else piece
        for piece, template in zip(pieces, templates, strict=True)
        if any(letter.isalpha() for letter in template)
    )
    many = ("#" in template and values[template] > _MANY_VALUES for template in templates)
    place = next((place for place, counts in enumerate(many) if counts), -1)
    return NameParts(pieces, words, pieces[place] if place >= 0 else "", place)


def readings(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Candidate answers to "who is one patient", from file names alone: description to one key per film.

    An empty key means that the reading does not apply to that film. Readings that put all films into one group, or
    each film into its own, are left out.
    """
    parts = cut_names(stems(paths))
    longest = max((len(part.pieces) for part in parts), default=0)
    candidates: dict[str, list[str]] = {
        "up to the number": ["_".join(part.pieces[: part.place + 1]) if part.counter else "" for part in parts],
        "the number alone": ["" if part.number is None else str(part.number) for part in parts],
        "number and word": [_with_next_word(part) for part in parts],
        "the folder": [path.parent.as_posix() for path in paths],
    }
    for length in range(2, min(longest, 5)):
        candidates[f"the first {length} parts"] = ["_".join(part.pieces[:length]) for part in parts]
    return {name: keys for name, keys in candidates.items() if _groups_something(keys)}


def _with_next_word(part: NameParts) -> str:
    if not part.counter:
        return ""
    after = part.pieces[part.place + 1 : part.place + 2]
    return "_".join([*part.pieces[: part.place + 1], *(word for word in after if not word.isdigit())])


def _groups_something(keys: Sequence[str]) -> bool:
    counts = Counter(key for key in keys if key)
    grouped = sum(count for count in counts.values() if count > 1)
    # One giant group is a constant word, and groups as large as a class are folders of classes.
    largest = max(counts.values(), default=0)
    return grouped >= 0.02 * len(keys) and largest <= max(60, 0.05 * len(keys))
