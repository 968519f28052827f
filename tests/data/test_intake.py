"""From folders and tables to records: layouts, stray files, labels, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxray.data.intake import read_dataset, read_inputs
from cxray.errors import DataError, LabelError
from tests.conftest import draw, draw_dataset


def table(folder: Path, text: str, films: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    for name in films:
        draw(folder / name)
    (folder / "films.csv").write_text(text)
    return folder / "films.csv"


def test_splits_and_classes_from_folder_names(tmp_path: Path) -> None:
    data = draw_dataset(tmp_path, splits=("train", "val", "test"))
    intake = read_dataset(data)
    assert intake.classes == ("NORMAL", "PNEUMONIA")
    assert intake.layout == "splits"
    assert intake.counts()["validation"] == {"NORMAL": 6, "PNEUMONIA": 6}
    assert intake.identity.source == "generic"


def test_plain_class_folders(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    draw(tmp_path / "b" / "deep" / "2.png")
    intake = read_dataset(tmp_path)
    assert (intake.layout, intake.classes) == ("classes", ("a", "b"))


def test_stray_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    data = draw_dataset(tmp_path / "chest_xray")
    normal = data / "train" / "NORMAL"
    for name in (".DS_Store", "Thumbs.db", "._patient.png", ".hidden"):
        (normal / name).write_bytes(b"x")
    (normal / "README.txt").write_text("about")
    draw(data / "train" / "loose.png")
    draw_dataset(data / "chest_xray")
    draw(tmp_path / "__MACOSX" / "train" / "NORMAL" / "x.png")
    intake = read_dataset(tmp_path)
    assert len(intake.records) == 24
    assert intake.passed_over == {
        "file left by an operating system": 3,
        "file that is no film": 1,
        "film outside any class folder": 1,
        "hidden file": 1,
        "nested copy of the archive": 1,
    }


def test_a_film_without_ending_is_found_and_a_text_called_jpeg_is_kept_for_the_list(tmp_path: Path) -> None:
    data = draw_dataset(tmp_path)
    draw(tmp_path / "f.png").rename(data / "train" / "NORMAL" / "film")
    (data / "train" / "NORMAL" / "note.jpeg").write_text("no film")
    names = {record.path.name for record in read_dataset(data).records}
    assert {"film", "note.jpeg"} <= names


def test_link_loops_end(tmp_path: Path) -> None:
    data = draw_dataset(tmp_path)
    os.symlink(data, data / "train" / "NORMAL" / "again")
    os.symlink(data / "nowhere", data / "train" / "NORMAL" / "gone.png")
    intake = read_dataset(data)
    assert intake.passed_over["link that leads back to its own folder"] >= 1
    assert intake.passed_over["link that leads nowhere"] == 1


def test_unicode_and_spaces(tmp_path: Path) -> None:
    data = draw_dataset(tmp_path / "Röntgen 胸 films")
    draw(data / "train" / "NORMAL" / "ein Bild (1) – ä.png")
    assert len(read_dataset(data).records) == 25


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p: None, "There is no folder of films at"),
        (lambda p: p.mkdir(), r"holds no films in class folders \(it is empty\)"),
        (lambda p: draw(p / "only.png"), "passed over: 1 × film outside any class folder"),
    ],
)
def test_folders_without_films(tmp_path: Path, prepare: object, message: str) -> None:
    prepare(tmp_path / "data")  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / "data")


def test_a_test_class_that_train_lacks(tmp_path: Path) -> None:
    data = draw_dataset(tmp_path)
    (data / "test" / "NORMAL").rename(data / "test" / "Normal")
    with pytest.raises(LabelError, match="class 'Normal' .* that train does not have. Did you mean 'NORMAL'"):
        read_dataset(data)


def test_two_data_sets_side_by_side_are_not_guessed_between(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "one")
    draw_dataset(tmp_path / "two")
    with pytest.raises(DataError, match="holds 2 data sets with a train folder"):
        read_dataset(tmp_path)


def test_a_table_keeps_patients_splits_and_further_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,patient,split,age\na.png,A,007,train,3\nb.png,B,8,val,\n")
    first, second = read_dataset(path).records
    assert (first.path, first.patient, first.split, first.metadata) == (
        tmp_path / "a.png",
        "007",
        "train",
        {"age": "3"},
    )
    assert second.split == "validation"


def test_findings_are_read_from_binary_columns_and_empty_means_unknown(tmp_path: Path) -> None:
    path = table(tmp_path, "path,Effusion,Edema,age\na.png,1,,31\nb.png,0,1,40\n")
    intake = read_dataset(path)
    assert intake.is_multi_label
    assert intake.classes == ("Effusion", "Edema")
    assert intake.records[0].findings == {"Effusion": True, "Edema": None}
    assert read_dataset(path, findings=["Edema"]).classes == ("Edema",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("film,label\na.png,A\n", "has no column 'path'; its columns are: film, label"),
        ("path,age\na.png,31\nb.png,32\n", "neither a filled 'label' column nor 0/1 columns"),
        ("path,label,split\na.png,A,tset\n", "row 2: split 'tset' is none of"),
        ("path,label\n,A\n", "row 2: the path is empty"),
        ("path,label\nx.png,A\ny.png,B\n", r"None of the 2 films named in .* exists; the first is"),
        ("path,label\na.png,A\na.png,B\n", "rows 2 and 3 give .*a.png two different labels"),
        ("path,label\na.png,A\nb.png,a\n", "row 3: label 'a' .* looks like a misspelt 'A'"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(table(tmp_path, text))


def test_a_typing_error_in_a_label_is_named_with_its_row(tmp_path: Path) -> None:
    rows = [f"f{n}.png,{'NORMAL' if n % 2 else 'PNEUMONIA'}" for n in range(100)] + ["x.png,PNEUMONA"]
    path = table(tmp_path, "path,label\n" + "\n".join(rows) + "\n", ("f1.png",))
    with pytest.raises(LabelError, match=r"row 102: label 'PNEUMONA' \(1 films\) looks like a misspelt 'PNEUMONIA'"):
        read_dataset(path)


def test_a_stray_value_in_a_finding_is_an_error_not_a_reason_to_drop_the_column(tmp_path: Path) -> None:
    rows = "\n".join(f"f{n}.png,{n % 2}" for n in range(30))
    path = table(tmp_path, f"path,Edema\n{rows}\nx.png,yes\n", ("f1.png",))
    with pytest.raises(LabelError, match="row 32: finding 'Edema' holds 'yes'; 0, 1 or nothing"):
        read_dataset(path)


def test_repeated_rows_and_rows_without_label_are_counted(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\na.png,A\na.png,A\nb.png,\n")
    assert read_dataset(path).passed_over == {"repeated row": 1, "row without a label": 1}


def test_inputs_take_label_and_split_from_folders_on_the_way(tmp_path: Path) -> None:
    data = draw_dataset(tmp_path)
    for given in ([data / "test"], [data / "test" / "NORMAL"], sorted((data / "test" / "NORMAL").iterdir())):
        records = read_inputs(given, ("NORMAL", "PNEUMONIA")).records
        assert {record.split for record in records} == {"test"}
        assert "NORMAL" in {record.label for record in records}
    assert read_inputs([data / "test"], ("ILL",)).records[0].label == ""


def test_a_folder_above_the_films_says_nothing_about_their_split(tmp_path: Path) -> None:
    draw(tmp_path / "dev" / "films" / "a.png")
    assert read_inputs([tmp_path / "dev" / "films"]).records[0].split == ""
    assert read_inputs([tmp_path / "dev" / "films" / "a.png"]).records[0].split == ""


def test_inputs_keep_every_column_of_a_table(tmp_path: Path) -> None:
    path = table(tmp_path, "path,sex,label\na.png,1,A|B\nb.png,0,A|B|C\n")
    records = read_inputs([path], ("A", "B")).records
    assert records[0].metadata == {"sex": "1"} and records[0].findings == {}
    assert read_inputs([path], findings=("sex",)).records[0].findings == {"sex": True}


def test_folders_beside_the_data_set_and_our_own_results_are_counted(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "chest_xray")
    draw(tmp_path / "other" / "a.png")
    assert read_dataset(tmp_path).passed_over == {"folder outside the data set": 1}
    run = tmp_path / "plain" / "run"
    draw(tmp_path / "plain" / "A" / "1.png")
    draw(tmp_path / "plain" / "B" / "2.png")
    draw(run / "figures.png")
    (run / ".cxray").touch()
    plain = read_dataset(tmp_path / "plain")
    assert plain.classes == ("A", "B") and plain.passed_over == {"folder of cxray results": 1}


def test_inputs_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is nothing at"):
        read_inputs([tmp_path / "none.png"])
    with pytest.raises(DataError, match="No films were found"):
        read_inputs([tmp_path])


def test_the_real_films_give_the_published_counts(shared: Path) -> None:
    intake = read_dataset(shared / "data" / "kermany224")
    assert intake.counts() == {"train": {"NORMAL": 1341, "PNEUMONIA": 3875}, "test": {"NORMAL": 234, "PNEUMONIA": 390}}
    test = [record for record in intake.records if record.split == "test"]
    assert intake.identity.n_patients == 4082
    assert len({record.patient for record in test}) == 428
    assert len({record.patient for record in test if record.label == "NORMAL"}) == 225
    assert not {r.patient for r in test} & {r.patient for r in intake.records if r.split == "train"}


def test_split_folders_may_be_links(tmp_path: Path) -> None:
    for split in ("train", "test"):
        draw(tmp_path / "films" / split / "A" / "1.png")
        draw(tmp_path / "films" / split / "B" / "2.png")
        (tmp_path / "linked").mkdir(exist_ok=True)
        (tmp_path / "linked" / split).symlink_to(tmp_path / "films" / split)
    intake = read_dataset(tmp_path / "linked")
    assert intake.counts() == {"train": {"A": 1, "B": 1}, "test": {"A": 1, "B": 1}}


def test_splits_without_train_are_no_classes(tmp_path: Path) -> None:
    for split in ("val", "test"):
        draw(tmp_path / split / "A" / "1.png")
    with pytest.raises(LabelError, match="holds the splits 'test', 'val', but no train split"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("NORMAL", "Normal", "X"), "NORMAL and .*Normal differ only in case or blanks"),
        ((" A", "B"), "begins or ends blank"),
        (("A\udce9", "B"), "is not UTF-8"),
    ],
)
def test_class_folders_that_cannot_be_meant(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    for name in names:
        draw(tmp_path / name / "1.png")
    with pytest.raises(LabelError, match=message):
        read_dataset(tmp_path)


def test_uncertain_findings_are_not_left_out_in_silence(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    rows = "".join(f"1.png,{n % 2},{n % 3 - 1}.0,{40 + n}\n" for n in range(9))
    table = tmp_path / "t.csv"
    table.write_text("path,Effusion,Atelectasis,age\n" + rows)
    with pytest.raises(LabelError, match="column 'Atelectasis' holds 0, 1 and -1") as refused:
        read_dataset(table)
    assert "--findings" in (refused.value.next_step or "")
