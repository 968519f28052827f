"""Dividing films into train, validation and test so that no patient stands on two sides.

Patients are drawn from a seed, stratum by stratum (a stratum is the rarest class or finding of a patient), until the
wanted share of films is reached. A given test split is never touched; one that has to be drawn is the same for every
seed, because films that one run was judged on must not be learned from by the next. A given validation split
is kept only when it is large enough to mean something. Every liberty taken is a sentence in `Division.notes`.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cxray.config import SplitSettings
from cxray.data.intake import Intake
from cxray.errors import SplitError
from cxray.records import ImageRecord
from cxray.tables import Column, write_table

NO_FINDING = "no finding"
_SEALED_SEED = 0


@dataclasses.dataclass(frozen=True)
class Division:
    """The divided films, sorted by path; `split` "" marks films left unused. `notes` explain, in order."""

    records: tuple[ImageRecord, ...]
    notes: tuple[str, ...]

    def of(self, split: str) -> list[ImageRecord]:
        """The films of one split."""
        return [record for record in self.records if record.split == split]

    def table(self) -> dict[str, Column]:
        """Columns `path, label, patient, split` and the findings: itself a data set, from the folder it was made in."""
        columns: dict[str, list[str]] = defaultdict(list)
        for record in self.records:
            for name in ("path", "label", "patient", "split"):
                columns[name].append(str(getattr(record, name)))
            for name, value in record.findings.items():
                columns[name].append("" if value is None else str(int(value)))
        if not any(columns["label"]):
            del columns["label"]
        return {name: np.array(cells, dtype=object) for name, cells in columns.items()}

    def write(self, path: Path) -> None:
        """Store the division as a table; whole or not at all."""
        write_table(path, self.table())


def divide(intake: Intake, settings: SplitSettings, seed: int) -> Division:
    """Divide a data set as `settings` say.

    Raises:
        SplitError: only one class, a class without films in train, or too few patients of a class for every split.
    """
    _check_classes(intake)
    records = sorted(intake.records, key=lambda record: record.path.as_posix())
    notes: list[str] = []
    has_splits = any(record.split for record in records)
    if has_splits:
        records = _assume_train(records, notes)
        records = _judge_given_validation(records, settings, notes)
        records = _set_aside_leaks(records, "test", notes)
        if settings.unit == "patient":
            records = _set_aside_leaks(records, "validation", notes)
    else:
        records = [dataclasses.replace(record, split="train") for record in records]
        records = _draw(records, "test", settings.test_fraction, "patient", _SEALED_SEED)
        notes.append(f"No test split was given: {_count(records, 'test')} were set aside and sealed.")
    if not any(record.split == "train" for record in records):
        raise SplitError("No film is left to learn from: none of them is in train.", "Give films of the train split.")
    if not any(record.split == "validation" for record in records):
        records = _draw_validation(records, settings, seed)
        notes.append(_describe_validation(records, settings))
    if settings.films_per_class:
        records = _reduce(records, settings.films_per_class, seed)
        notes.append(f"Reduced to a balanced training set: {_count(records, 'train')}.")
    return Division(tuple(records), tuple(notes))


def stratum(record: ImageRecord, rarity: Mapping[str, int]) -> str:
    """The class of a film, or its rarest present finding; `rarity` counts films per finding."""
    if record.label:
        return record.label
    present = [name for name, value in record.findings.items() if value]
    return min(present, key=lambda name: (rarity[name], name)) if present else NO_FINDING


def _check_classes(intake: Intake) -> None:
    if not intake.is_multi_label and len(intake.classes) < 2:
        raise SplitError(
            f"Only one class was found: {', '.join(intake.classes)}. A classifier needs at least two.",
            "Add the films of the other class.",
        )


def _assume_train(records: Sequence[ImageRecord], notes: list[str]) -> list[ImageRecord]:
    open_films = sum(not record.split for record in records)
    if open_films:
        notes.append(f"{open_films} films without a split were taken as train.")
    return [r if r.split else dataclasses.replace(r, split="train") for r in records]


def _judge_given_validation(
    records: Sequence[ImageRecord], settings: SplitSettings, notes: list[str]
) -> list[ImageRecord]:
    given = [record for record in records if record.split == "validation"]
    if not given:
        return list(records)
    open_films = [record for record in records if record.split != "test"]
    count, everything = _strata_counts(given, records), _strata_counts(open_films, records)
    smallest = min(count.get(name, 0) for name in everything)
    enough = all(count.get(name, 0) >= validation_films_wanted(total, settings) for name, total in everything.items())
    if settings.use_given_validation and enough:
        notes.append(f"The given validation split was kept: {_count(records, 'validation')}.")
        return list(records)
    if settings.use_given_validation:
        notes.append(
            f"The given validation split is too small to say anything: {len(given)} films, {smallest} in its smallest "
            f"class (at least {settings.minimum_validation_films} are needed). Its films joined train and a "
            f"{'patient-grouped ' if settings.unit == 'patient' else ''}validation split was drawn instead."
        )
    return [dataclasses.replace(r, split="train") if r.split == "validation" else r for r in records]


def validation_films_wanted(films: int, settings: SplitSettings) -> int:
    """How many of the `films` of a class or finding outside of test must stand in a given validation split for it to
    be kept: `minimum_validation_films`, or the share that would be drawn where that is less."""
    return min(settings.minimum_validation_films, int(settings.validation_fraction * films))


def _set_aside_leaks(records: Sequence[ImageRecord], judge: str, notes: list[str]) -> list[ImageRecord]:
    """Leave unused the films that are to be learnt from but show a patient of the split that judges."""
    judged_by = ("test",) if judge == "test" else ("test", "validation")
    patients = {record.patient for record in records if record.split == judge}
    leaking = [r for r in records if r.split not in judged_by and r.split and r.patient in patients]
    if not leaking:
        return list(records)
    notes.append(
        f"{len(leaking)} films of {len({record.patient for record in leaking})} patients who also have films in "
        f"{judge} were set aside: learning from them would leak the {judge} split."
    )
    aside = {record.path for record in leaking}
    return [dataclasses.replace(r, split="") if r.path in aside else r for r in records]


def _draw_validation(records: Sequence[ImageRecord], settings: SplitSettings, seed: int) -> list[ImageRecord]:
    fraction = settings.validation_fraction
    wanted = None
    if settings.films_per_class:
        wanted = round(settings.films_per_class * fraction)
    return _draw(records, "validation", fraction, settings.unit, seed, films_per_stratum=wanted)


def _draw(
    records: Sequence[ImageRecord],
    split: str,
    fraction: float,
    unit: str,
    seed: int,
    films_per_stratum: int | None = None,
) -> list[ImageRecord]:
    """Move a share of the training films to `split`, whole patients at a time unless `unit` is "film"."""
    pool = [record for record in records if record.split == "train"]
    name_of: Callable[[ImageRecord], str] = _path_name if unit == "film" else _patient_name
    chosen: set[str] = set()
    for name, groups in _groups_by_stratum(pool, name_of).items():
        if len(groups) < 2 and not any(record.label for record in pool):
            continue  # a finding of one patient stays in train; it cannot be judged, and the report will say so
        if len(groups) < 2:
            raise SplitError(
                f"{_class_left_for(split)} {name!r} has films of one {unit} only, so it cannot stand in both train and "
                f"{split}.",
                f"Add films of more {unit}s of {name!r}, or give a {split} split yourself.",
            )
        films = sum(groups.values())
        wanted = min(films_per_stratum or round(films * fraction), films - 1)
        chosen |= _choose(groups, max(1, wanted), _generator(seed, split, name))
    return [dataclasses.replace(r, split=split) if r.split == "train" and name_of(r) in chosen else r for r in records]


def _class_left_for(split: str) -> str:
    return "Outside of the test split, class" if split == "validation" else "Class"


def _path_name(record: ImageRecord) -> str:
    return record.path.as_posix()


def _patient_name(record: ImageRecord) -> str:
    return record.patient


def _groups_by_stratum(pool: Sequence[ImageRecord], name_of: Callable[[ImageRecord], str]) -> dict[str, dict[str, int]]:
    rarity = Counter(name for record in pool for name, value in record.findings.items() if value)
    strata_of: dict[str, Counter[str]] = defaultdict(Counter)
    for record in pool:
        strata_of[name_of(record)][stratum(record, rarity)] += 1
    groups: dict[str, dict[str, int]] = defaultdict(dict)
    films_of: Counter[str] = sum(strata_of.values(), Counter())
    for name, strata in strata_of.items():
        # A patient belongs whole to the rarest of its strata, or a class that others always accompany had no patients.
        rarest = min(strata, key=lambda s: (films_of[s], s))
        groups[rarest][name] = strata.total()
    return groups


def _choose(groups: Mapping[str, int], wanted: int, generator: np.random.Generator) -> set[str]:
    names = sorted(groups)
    chosen: set[str] = set()
    films = 0
    # A patient with most of the films of a class would leave nothing to learn from, or nothing to judge by.
    most = max(2 * wanted, min(groups.values()))
    for index in generator.permutation(len(names)):
        if films >= wanted or len(chosen) == len(names) - 1:
            break
        if films + groups[names[index]] <= most:
            chosen.add(names[index])
            films += groups[names[index]]
    return chosen


def _reduce(records: Sequence[ImageRecord], films_per_class: int, seed: int) -> list[ImageRecord]:
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if record.split == "train":
            by_class[record.label].append(index)
    size = min(films_per_class, *(len(indices) for indices in by_class.values()))
    kept: set[int] = set()
    for name, indices in by_class.items():
        kept |= {indices[i] for i in _generator(seed, "reduce", name).permutation(len(indices))[:size]}
    return [
        dataclasses.replace(record, split="") if record.split == "train" and index not in kept else record
        for index, record in enumerate(records)
    ]


def _describe_validation(records: Sequence[ImageRecord], settings: SplitSettings) -> str:
    if settings.unit == "patient":
        return f"Validation was drawn by patient: {_count(records, 'validation')}; no patient is in two splits."
    train = {record.patient for record in records if record.split == "train"}
    validation = [record for record in records if record.split == "validation"]
    leaking = sum(record.patient in train for record in validation)
    return (
        f"Validation was drawn film by film: {leaking} of {len(validation)} validation films show a patient who is "
        "also in train, so the validation figures are flattering."
    )


def _count(records: Sequence[ImageRecord], split: str) -> str:
    chosen = [record for record in records if record.split == split]
    return f"{len(chosen)} films of {len({record.patient for record in chosen})} patients"


def _strata_counts(records: Sequence[ImageRecord], everything: Sequence[ImageRecord]) -> Counter[str]:
    rarity = Counter(name for record in everything for name, value in record.findings.items() if value)
    return Counter(stratum(record, rarity) for record in records)


def _generator(seed: int, *names: str) -> np.random.Generator:
    # One stream a purpose: adding a class or a split must not reshuffle the others.
    return np.random.default_rng([seed, zlib.crc32("/".join(names).encode())])
