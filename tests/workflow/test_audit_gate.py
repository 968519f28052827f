"""The gate before training: what it refuses, what can be accepted, and what it may do with test films."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from cxray.cli import cli
from cxray.config import Recipe, SplitSettings, load_recipe
from cxray.data.intake import read_dataset
from cxray.data.split import Division, divide
from cxray.errors import ConfigError, DataError, UsageError
from cxray.workflow import audit_gate
from cxray.workflow.audit_gate import ACCEPTABLE, Passed, check_codes, pass_gate

PLAIN = Recipe(split=SplitSettings(minimum_validation_films=5))


def gate(data: Path, settings: Recipe = PLAIN) -> Passed:
    intake = read_dataset(data)
    return pass_gate(intake, data, divide(intake, settings.split, settings.train.seed), settings)


def accepting(*codes: str, unit: str = "patient") -> Recipe:
    return dataclasses.replace(PLAIN, accept=codes, split=dataclasses.replace(PLAIN.split, unit=unit))


@pytest.fixture
def films(phantom_films: Path, tmp_path: Path) -> Path:
    """A copy of the clean films to plant a fault in."""
    return Path(shutil.copytree(phantom_films, tmp_path / "films"))


def a_test_film(films: Path) -> Path:
    return sorted((films / "test" / "NORMAL").glob("*.png"))[0]


def copy_into_train(source: Path, films: Path, label: str = "NORMAL") -> Path:
    """The film of another patient's name, mirrored and re-encoded, among the training films."""
    target = films / "train" / label / "phantom-p9000-f0.jpg"
    with Image.open(source) as film:
        ImageOps.mirror(film).save(target, quality=80)
    return target


def test_clean_films_pass_and_the_facts_say_what_was_looked_at(phantom_films: Path) -> None:
    passed = gate(phantom_films)
    assert passed.facts["films"] == 80
    assert passed.facts["accepted"] == [] and passed.facts["copies_set_aside"] == 0
    assert [row["code"] for row in passed.facts["warnings"]] == []
    assert passed.division.notes[-1].startswith("Audit before training, 80 films in ")
    assert "no leak" in passed.division.notes[-1]
    json.dumps(passed.facts, allow_nan=False)


def test_a_copy_of_a_test_film_is_refused_with_code_films_and_option(films: Path) -> None:
    copy = copy_into_train(a_test_film(films), films)
    with pytest.raises(DataError, match="Training was refused") as refused:
        gate(films)
    told = str(refused.value)
    assert "duplicate-across-splits" in told and "--accept duplicate-across-splits" in told
    assert copy.relative_to(films).as_posix() in told and a_test_film(films).relative_to(films).as_posix() in told
    assert f"cxray audit {films} --out audit" in refused.value.next_step


def test_an_accepted_copy_is_recorded_and_still_not_learned_from(films: Path) -> None:
    copy = copy_into_train(a_test_film(films), films)
    passed = gate(films, accepting("duplicate-across-splits"))
    (risk,) = passed.facts["accepted"]
    assert risk["code"] == "duplicate-across-splits" and risk["films"] == 2
    assert {record.split for record in passed.division.records if record.path == copy} == {""}
    assert passed.facts["copies_set_aside"] == 1
    assert any("1 film set aside" in note for note in passed.division.notes)
    assert any(note.startswith("Accepted risk duplicate-across-splits") for note in passed.division.notes)


def test_only_the_named_code_is_accepted(films: Path) -> None:
    copy_into_train(a_test_film(films), films, "PNEUMONIA")
    with pytest.raises(DataError) as refused:
        gate(films, accepting("duplicate-across-splits"))
    assert "--accept duplicate-contradicting-labels" in refused.value.next_step
    assert "--accept duplicate-across-splits" not in refused.value.next_step


def test_a_patient_on_two_sides_is_refused(films: Path) -> None:
    source = a_test_film(films)
    target = films / "train" / "NORMAL" / source.name.replace("-f0", "-f7")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8)).save(target)
    with pytest.raises(DataError, match="patient-leak: 1 patient"):
        gate(films)
    passed = gate(films, accepting("patient-leak"))
    assert {r.split for r in passed.division.records if r.path == target} == {""}


def test_validation_drawn_film_by_film_leaks_unless_it_is_wanted(phantom_films: Path) -> None:
    with pytest.raises(DataError, match="validation-patient-leak") as refused:
        gate(phantom_films, accepting(unit="film"))
    assert "patient-leak: " in str(refused.value) and "--accept validation-patient-leak" in refused.value.next_step
    passed = gate(phantom_films, accepting("validation-patient-leak", unit="film"))
    assert [risk["code"] for risk in passed.facts["accepted"]] == ["validation-patient-leak"]


def test_the_recipe_of_the_article_accepts_what_it_reproduces_and_no_leak_into_the_test(films: Path) -> None:
    article = load_recipe("article")
    assert article.accept == ("validation-duplicate", "validation-patient-leak")
    gate(films, article)
    copy_into_train(a_test_film(films), films)
    with pytest.raises(DataError, match="--accept duplicate-across-splits"):
        gate(films, article)


def test_a_copy_that_the_draw_put_on_two_sides_is_set_aside_not_refused(films: Path) -> None:
    intake = read_dataset(films)
    division = divide(intake, PLAIN.split, 0)
    judged = next(r.path for r in division.of("validation") if r.label == "NORMAL")
    copy_into_train(judged, films)
    passed = gate(films)
    used = {record.path: record.split for record in passed.division.records}
    copies = [used[judged], used[films / "train" / "NORMAL" / "phantom-p9000-f0.jpg"]]
    assert sorted(copies) in (["", "validation"], ["train", "train"], ["validation", "validation"])
    assert passed.facts["accepted"] == []


def test_unreadable_test_films_do_not_stop_training_but_unreadable_training_films_do(films: Path) -> None:
    for path in (films / "test").rglob("*.png"):
        path.write_bytes(b"no film")
    assert gate(films).facts["accepted"] == []
    for path in sorted((films / "train").rglob("*.png"))[:6]:
        path.write_bytes(b"no film")
    with pytest.raises(DataError, match="unreadable-film: 6 films"):
        gate(films)


def test_undivided_films_are_judged_as_training_divides_them(films: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    for path in films.rglob("*.png"):
        (flat / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, flat / path.parent.name)
    source = sorted((flat / "NORMAL").glob("*.png"))
    for number, path in enumerate(source):
        shutil.copy(path, flat / "NORMAL" / f"phantom-p{8000 + number}-f0.png")
    passed = gate(flat)
    used = {record.path.name: record.split for record in passed.division.records}
    pairs = [(used[path.name], used[f"phantom-p{8000 + n}-f0.png"]) for n, path in enumerate(source)]
    assert passed.facts["copies_set_aside"] > 0
    assert all(one == other or "" in (one, other) for one, other in pairs)
    assert not any("test" in pair and "" not in pair and pair != ("test", "test") for pair in pairs)


@pytest.mark.parametrize(
    ("code", "hint"), [("patient_leak", "Did you mean 'patient-leak'"), ("xyz", "Known codes: duplicate-across-splits")]
)
def test_codes_that_do_not_exist(code: str, hint: str) -> None:
    check_codes(ACCEPTABLE)
    with pytest.raises(ConfigError, match="is no error that training could accept") as refused:
        check_codes([code])
    assert hint in str(refused.value)


def test_hostile_file_names_do_not_command_the_terminal(films: Path) -> None:
    shutil.copy(a_test_film(films), films / "train" / "NORMAL" / "\x1b[31m-9.png")
    with pytest.raises(DataError) as refused:
        gate(films)
    assert "\x1b" not in str(refused.value) and "\\x1b[31m-9.png" in str(refused.value)


def test_test_films_can_only_take_films_away(films: Path) -> None:
    """Other test films, and other labels of them, leave the division and what is said of shortcuts as they were."""
    before = gate(films)
    rng = np.random.default_rng(3)
    for path in sorted((films / "test").rglob("*.png")):
        Image.fromarray(rng.integers(0, 256, (96, 96)).astype(np.uint8)).save(path)
    after = gate(films)
    assert _learned(after.division) == _learned(before.division)
    assert after.facts["warnings"] == before.facts["warnings"]


def _learned(division: Division) -> list[tuple[str, str]]:
    return [(r.path.name, r.split) for r in division.records if r.split in ("train", "validation")]


def test_shortcuts_are_probed_without_test_films(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []

    def look(scan: audit_gate.Scan, targets: object, seed: int) -> tuple[list[audit_gate.Finding], list[object]]:
        seen.append(set(scan.split))
        warning = audit_gate.Finding("shortcut-border", "warning", "The border tells.", {}, "Crop.")
        return [warning], []

    monkeypatch.setattr(audit_gate, "check_shortcuts", look)
    passed = gate(films)
    assert seen == [{"train", "validation"}]
    assert passed.facts["warnings"] == [{"code": "shortcut-border", "title": "The border tells."}]


def test_refused_training_leaves_nothing_behind(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra train")
    copy_into_train(a_test_film(films), films)
    out = tmp_path / "run"
    result = CliRunner().invoke(cli, ["train", str(films), "--out", str(out), "--recipe", "demo"])
    assert isinstance(result.exception, DataError)
    assert not out.exists()
    wrong = CliRunner().invoke(cli, ["train", str(films), "--out", str(out), "--accept", "patient-leek"])
    assert isinstance(wrong.exception, UsageError) and "patient-leak" in str(wrong.exception)


def test_of_many_copies_none_is_learned_from_while_another_judges(films: Path) -> None:
    records = [*(films / "train" / "NORMAL").glob("*.png"), *(films / "train" / "PNEUMONIA").glob("*.png")]
    plain = films.parent / "plain"
    for number, source in enumerate(records):
        target = plain / source.parent.name
        target.mkdir(parents=True, exist_ok=True)
        for copy in range(3):
            shutil.copy(source, target / f"{copy}_film{number}.png")
    division = gate(plain).division
    split_of = {record.path.name: record.split for record in division.records}
    used = [{split_of[f"{copy}_film{n}.png"] for copy in range(3)} - {""} for n in range(len(records))]
    assert len(used) > 20 and all(len(splits) <= 1 for splits in used)
