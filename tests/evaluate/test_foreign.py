"""Tables of other tools: renamed when told, explained when not."""

import pytest

from cxray.errors import DataError, UsageError
from cxray.evaluate import evaluate, read_foreign


@pytest.fixture
def foreign(tmp_path):
    path = tmp_path / "vendor.csv"
    rows = [f"s{i},p{i // 2},{i % 2},{0.2 + 0.5 * (i % 2) + 0.001 * i:.3f},{40 + i}" for i in range(60)]
    path.write_text("\n".join(["image_id,subject,y_true,prob,age", *rows]) + "\n")
    return path


MAPPING = {"path": "image_id", "patient": "subject", "label": "y_true", "score_PNEUMONIA": "prob"}


def test_mapped_table_gets_the_full_judgement(foreign):
    table = read_foreign(foreign, MAPPING, labels={"1": "PNEUMONIA", "0": "NORMAL"})
    assert (table.classes, list(table.metadata)) == (("PNEUMONIA",), ["age"])
    found = evaluate(table, threshold=0.5)
    assert found.record("auroc").value == 1.0
    assert found.facts["patients"] == 30


def test_without_a_mapping_the_error_names_what_could_be_meant(foreign):
    with pytest.raises(DataError) as caught:
        read_foreign(foreign)
    for hint in ("score_<CLASS>=prob", "path=image_id", "patient=subject", "label=y_true"):
        assert hint in caught.value.message
    assert "score_PNEUMONIA=prob" in caught.value.next_step


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"path": "imageid"}, "has no column 'imageid'.*Did you mean 'image_id'"),
        ({"pacient": "subject"}, "no column 'pacient' in a predictions table. Did you mean 'patient'"),
        ({"prob": "score_PNEUMONIA"}, "'prob' is the table's own name"),
    ],
)
def test_mapping_that_cannot_be_meant(foreign, mapping, message):
    with pytest.raises(UsageError, match=message):
        read_foreign(foreign, mapping)


def test_a_name_that_is_taken_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("path,file,score_A\na,b,0.5\n")
    with pytest.raises(UsageError, match="already has a column 'path'"):
        read_foreign(path, {"path": "file"})


def test_logits_are_refused_with_advice(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("path,label,score_A\na,A,3.5\nb,B,-1\n")
    with pytest.raises(DataError, match="Apply a sigmoid or softmax"):
        read_foreign(path)
