"""Dividing by patient, from a seed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from cxray.config import SplitSettings
from cxray.data.identity import Identity
from cxray.data.intake import Intake, read_dataset
from cxray.data.split import Division, divide
from cxray.errors import SplitError
from cxray.records import ImageRecord
from cxray.tables import read_table

IDENTITY = Identity("column", "given", "made up", 0)


def intake(*records: ImageRecord) -> Intake:
    classes = tuple(sorted({record.label for record in records} - {""}))
    findings = tuple(dict.fromkeys(name for record in records for name in record.findings))
    return Intake(records, findings or classes, bool(findings), "table", IDENTITY, {})


def films(label: str, patients: int, each: int = 3, split: str = "") -> list[ImageRecord]:
    return [
        ImageRecord(Path(f"{split}{label}{p}-{f}.png"), label=label, patient=f"{split}{label}{p}", split=split)
        for p in range(patients)
        for f in range(each)
    ]


def sides(division: Division) -> dict[str, set[str]]:
    return {split: {r.patient for r in division.of(split)} for split in ("train", "validation", "test")}


def test_no_patient_stands_on_two_sides_and_shares_are_met() -> None:
    division = divide(intake(*films("A", 40), *films("B", 80)), SplitSettings(), seed=3)
    train, validation, test = sides(division).values()
    assert not train & validation and not train & test and not validation & test
    counts = Counter(record.label for record in division.of("test"))
    assert counts == {"A": 18, "B": 36}
    assert "sealed" in division.notes[0]


def test_the_seed_decides_and_the_order_of_films_does_not() -> None:
    records = [*films("A", 30), *films("B", 30)]
    first = divide(intake(*records), SplitSettings(), seed=1)
    assert first == divide(intake(*reversed(records)), SplitSettings(), seed=1)
    assert first != divide(intake(*records), SplitSettings(), seed=2)


@pytest.mark.parametrize(("per_class", "kept"), [(24, False), (25, True)])
def test_a_validation_folder_must_be_large_enough(per_class: int, kept: bool) -> None:
    given = [*films("A", per_class, 1, "validation"), *films("B", per_class, 1, "validation")]
    records = [*films("A", 80, 3, "train"), *films("B", 80, 3, "train"), *given, *films("A", 9, 1, "test")]
    division = divide(intake(*records), SplitSettings(), seed=0)
    same = {record.path for record in division.of("validation")} == {record.path for record in given}
    assert same is kept
    assert (
        any("too small to say anything: 48 films, 24 in its smallest class" in note for note in division.notes) != kept
    )
    assert len(division.of("test")) == 9


def test_a_small_data_set_may_bring_a_small_validation_split() -> None:
    given = [*films("A", 6, 1, "validation"), *films("B", 6, 1, "validation")]
    records = [*films("A", 40, 1, "train"), *films("B", 40, 1, "train"), *given]
    division = divide(intake(*records), SplitSettings(), seed=0)
    assert len(division.of("validation")) == 12
    assert "The given validation split was kept: 12 films of 12 patients." in division.notes


def test_training_films_of_patients_in_a_given_validation_split_are_set_aside() -> None:
    twins = [dataclasses.replace(r, path=Path(f"v{r.path}"), split="validation") for r in films("A", 30, 1, "train")]
    records = [*films("A", 60, 1, "train"), *films("B", 60, 1, "train"), *twins, *films("B", 30, 1, "validation")]
    division = divide(intake(*records), SplitSettings(), seed=0)
    train, validation, _ = sides(division).values()
    assert not train & validation
    assert any("30 films of 30 patients who also have films in validation were set aside" in n for n in division.notes)


def test_a_finding_of_one_patient_stays_in_train() -> None:
    records = [
        ImageRecord(Path(f"{n}.png"), findings={"common": n % 2 == 0, "single": n == 7}, patient=str(n))
        for n in range(60)
    ]
    division = divide(intake(*records), SplitSettings(), seed=0)
    assert [record.path.name for record in division.of("train") if record.findings["single"]] == ["7.png"]


def test_training_films_of_test_patients_are_set_aside() -> None:
    leak = dataclasses.replace(films("A", 1, 1, "test")[0], path=Path("leak.png"), split="train")
    records = [*films("A", 20, 3, "train"), *films("B", 20, 3, "train"), *films("A", 2, 1, "test"), leak]
    division = divide(intake(*records), SplitSettings(), seed=0)
    assert [record.path.name for record in division.of("")] == ["leak.png"]
    assert any("1 films of 1 patients who also have films in test were set aside" in note for note in division.notes)


def test_the_reduced_set_is_balanced_and_film_wise_validation_confesses() -> None:
    records = [*films("A", 50, 3, "train"), *films("B", 120, 3, "train"), *films("A", 3, 1, "test")]
    settings = SplitSettings(unit="film", films_per_class=100, validation_fraction=0.2)
    division = divide(intake(*records), settings, seed=0)
    assert Counter(record.label for record in division.of("train")) == {"A": 100, "B": 100}
    assert Counter(record.label for record in division.of("validation")) == {"A": 20, "B": 20}
    assert any("also in train, so the validation figures are flattering" in note for note in division.notes)


def test_findings_are_stratified_by_the_rarest() -> None:
    records = [
        ImageRecord(Path(f"{n}.png"), findings={"common": n % 2 == 0, "rare": n % 20 == 0}, patient=str(n))
        for n in range(400)
    ]
    division = divide(intake(*records), SplitSettings(validation_fraction=0.25, test_fraction=0.25), seed=0)
    for split in ("train", "validation", "test"):
        share = sum(bool(record.findings["rare"]) for record in division.of(split)) / len(division.of(split))
        assert share == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (films("A", 30), "Only one class was found: A"),
        ([*films("A", 30), *films("B", 1, 9)], "Class 'B' has films of one patient only"),
        ([*films("A", 30, 1, "test"), *films("B", 30, 1, "test")], "No film is left to learn from"),
    ],
)
def test_too_little_to_divide(records: list[ImageRecord], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        divide(intake(*records), SplitSettings(), seed=0)


def test_the_stored_division_is_a_data_set(tmp_path: Path) -> None:
    division = divide(intake(*films("A", 9), *films("B", 9)), SplitSettings(), seed=0)
    division.write(tmp_path / "splits.csv")
    assert list(read_table(tmp_path / "splits.csv")) == ["path", "label", "patient", "split"]


def test_the_real_films_divide_without_a_leak(shared: Path) -> None:
    division = divide(read_dataset(shared / "data" / "kermany224"), SplitSettings(), seed=0)
    train, validation, test = sides(division).values()
    assert not train & validation and not (train | validation) & test
    assert len(division.of("test")) == 624
    assert 0.14 < len(division.of("validation")) / 5216 < 0.16


def test_the_sealed_test_is_the_same_for_every_seed() -> None:
    records = intake(*films("A", 30), *films("B", 30))
    first, second = (sides(divide(records, SplitSettings(), seed)) for seed in (0, 7))
    assert first["test"] == second["test"] and first["validation"] != second["validation"]


@pytest.mark.parametrize("seed", range(6))
def test_a_patient_with_most_films_of_a_class_stays_in_train(seed: int) -> None:
    stay = [ImageRecord(Path(f"icu-{n}.png"), label="A", patient="icu") for n in range(22)]
    division = divide(intake(*stay, *films("A", 8, 1), *films("B", 30, 1)), SplitSettings(), seed)
    counts = {split: Counter(r.label for r in division.of(split))["A"] for split in ("train", "validation", "test")}
    assert counts["train"] >= 22 and 1 <= counts["validation"] <= 8 and 1 <= counts["test"] <= 9


def test_ill_films_of_patients_with_more_healthy_ones_are_divided_too() -> None:
    def mixed(p: int) -> list[ImageRecord]:
        return [ImageRecord(Path(f"{p}-{f}.png"), label="B" if f else "A", patient=f"p{p}") for f in range(3)]

    records = [*(film for p in range(15) for film in mixed(p)), *films("A", 2, 1)]
    division = divide(intake(*records), SplitSettings(), seed=0)
    for split in ("train", "validation", "test"):
        assert {record.label for record in division.of(split)} == {"A", "B"}


def test_one_patient_left_beside_the_test_is_told_as_that() -> None:
    records = [
        *films("A", 30, 1, "train"),
        *films("B", 1, 3, "train"),
        *films("A", 3, 1, "test"),
        *films("B", 3, 1, "test"),
    ]
    with pytest.raises(SplitError, match="Outside of the test split, class 'B' has films of one patient only"):
        divide(intake(*records), SplitSettings(), seed=0)
