import dataclasses
from pathlib import Path

import numpy as np

from cxray.data.audit.identity import check_identity, weigh_readings
from cxray.data.audit.scan import Scan
from cxray.data.identity import Identity, assign_patients
from cxray.records import ImageRecord
from tests.data.audit.conftest import ALONE, scan_of


def faces(people: list[int], likeness: float, seed: int = 0) -> np.ndarray:
    """Thumbnails uint8 (films, 32, 32): each person's pattern, mixed with film noise; likeness 0 = noise only."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(max(people) + 1, 32, 32))
    noise = rng.normal(size=(len(people), 32, 32))
    mixed = likeness * patterns[people] + (1 - likeness) * noise
    return np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8)


def children(same_child_across_kinds: bool) -> Scan:
    """person1_virus ×2, person1_bacteria ×2 …: the number joins two children, or one child with two illnesses."""
    records, people = [], []
    for number in range(1, 61):
        for kind_index, kind in enumerate(("virus", "bacteria")):
            for film in range(2):
                name = f"person{number}_{kind}_{1000 + number * 10 + kind_index * 5 + film}.jpeg"
                records.append(ImageRecord(Path("films") / "PNEUMONIA" / name, label="PNEUMONIA"))
                people.append(number if same_child_across_kinds else 2 * number + kind_index)
    return dataclasses.replace(scan_of(records), thumbnails=faces(people, 0.5))


def test_the_bare_number_is_rejected_when_its_further_pairs_are_strangers():
    scan = children(same_child_across_kinds=False)
    chosen, others = weigh_readings(scan, seed=0)
    assert chosen.verdict == "supported"
    assert chosen.alike is not None
    assert chosen.alike.value > 0.9
    bare = next(reading for reading in others if reading.name == "up to the number")
    assert bare.verdict == "rejected"
    assert bare.pairs == 60 * 4  # two by two films of each number
    assert bare.alike is not None
    assert abs(bare.alike.value - 0.5) < 0.06


def test_a_coarser_reading_is_a_warning_when_its_further_pairs_are_one_person():
    scan = children(same_child_across_kinds=True)
    identity = Identity("kermany", "high", "number and aetiology", 120)
    codes = {finding.code: finding for finding in check_identity(scan, identity, 0)}
    assert codes["patient-identity-missed"].severity == "warning"
    assert "240 further pairs" in codes["patient-identity-missed"].title


def test_patients_hidden_in_unknown_names_are_found_by_their_films():
    people = [film // 3 for film in range(150)]
    paths = [Path(f"films/NORMAL/case{person:03d}x_{film:04d}.png") for film, person in enumerate(people)]
    records = [ImageRecord(path, label="NORMAL") for path in paths]
    scan = dataclasses.replace(scan_of(records), thumbnails=faces(people, 0.5))
    found = {finding.code: finding for finding in check_identity(scan, ALONE, 0)}
    assert found["patient-identity-missed"].evidence["candidate"]["patients"] == 50
    strangers = dataclasses.replace(scan, thumbnails=faces(people, 0.0))
    assert [finding.code for finding in check_identity(strangers, ALONE, 0)] == ["patient-identity"]


def test_a_patient_column_that_joins_strangers_is_doubtful():
    records = [ImageRecord(Path(f"films/{film}.png"), label="NORMAL", patient=f"p{film % 50}") for film in range(200)]
    _, identity = assign_patients(records)
    scan = dataclasses.replace(scan_of(records), thumbnails=faces(list(range(200)), 0.5))
    found = {finding.code: finding for finding in check_identity(scan, identity, 0)}
    assert found["patient-identity-doubtful"].severity == "warning"
    assert found["patient-identity"].evidence["source"] == "column"


def test_too_few_pairs_decide_nothing():
    records = [ImageRecord(Path(f"films/{film}.png"), label="NORMAL", patient=f"p{film // 2}") for film in range(20)]
    chosen, _ = weigh_readings(scan_of(records), seed=0)
    assert (chosen.verdict, chosen.alike, chosen.pairs) == ("undecided", None, 10)
