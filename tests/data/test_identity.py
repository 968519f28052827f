"""Who is one patient, read from file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxray.data.identity import assign_patients
from cxray.records import ImageRecord


def patients(*paths: str) -> list[str]:
    records, _ = assign_patients([ImageRecord(Path(path)) for path in paths])
    return [record.patient for record in records]


def test_number_and_aetiology_make_the_patient() -> None:
    virus, bacteria, sibling = patients(
        "person12_virus_46.jpeg", "person12_bacteria_47.jpeg", "x/person12_virus_50_2.jpeg"
    )
    assert virus == sibling == "person12-virus"
    assert bacteria == "person12-bacteria"


def test_normal_series_keep_their_prefix_and_drop_film_numbers() -> None:
    first, second, third, other = patients(
        "IM-0011-0001-0001.jpeg", "IM-0011-0001-0002.jpeg", "IM-0011-0001.jpeg", "NORMAL2-IM-0011-0001.jpeg"
    )
    assert first == second == third == "im-0011"
    assert other == "normal2-im-0011"


@pytest.mark.parametrize(
    ("path", "patient", "source"),
    [
        ("00000001_013.png", "00000001", "nih"),
        ("train/patient00042/study1/view1_frontal.jpg", "patient00042", "chexpert"),
        ("p10/p10000032/s50414267/02aa804e-bde0afdd.jpg", "p10000032", "mimic"),
        ("a/phantom-p0003-f1.png", "phantom-p0003", "phantom"),
        ("subject-007_left.png", "subject-007", "generic"),
        ("holiday.png", "film:holiday.png", "none"),
    ],
)
def test_each_family(path: str, patient: str, source: str) -> None:
    records, identity = assign_patients([ImageRecord(Path(path))])
    assert (records[0].patient, identity.source) == (patient, source)


def test_a_column_wins_and_gaps_become_patients_of_their_own() -> None:
    records, identity = assign_patients(
        [ImageRecord(Path("person1_virus_1.jpeg"), patient="7"), ImageRecord(Path("b"))]
    )
    assert [record.patient for record in records] == ["7", "film:b"]
    assert (identity.source, identity.confidence, identity.unmatched) == ("column", "given", 1)


@pytest.mark.parametrize(("strangers", "source"), [(1, "nih"), (2, "none")])
def test_a_grammar_must_explain_nine_in_ten_films(strangers: int, source: str) -> None:
    paths = [f"{n:08d}_000.png" for n in range(10 - strangers)] + [f"odd{n}.png" for n in range(strangers)]
    records, identity = assign_patients([ImageRecord(Path(path)) for path in paths])
    assert (identity.source, identity.n_patients) == (source, 10)
    assert records[-1].patient.startswith("film:")


def test_a_word_above_all_films_names_no_patient() -> None:
    alone = [f"subject12_study/train/NORMAL/n{n}.png" for n in range(5)]
    records, identity = assign_patients([ImageRecord(Path(path)) for path in alone])
    assert identity.source == "none" and len({record.patient for record in records}) == 5
    named = [f"/data/subject12_study/train/NORMAL/patient{n}_1.png" for n in range(5)]
    records, identity = assign_patients([ImageRecord(Path(path)) for path in named])
    assert identity.source == "generic" and [record.patient for record in records] == [f"patient{n}" for n in range(5)]
