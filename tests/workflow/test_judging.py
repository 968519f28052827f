"""Judging as people do it: tables on disk, the log of openings, protocols, features, tables of other tools."""

import dataclasses
import json

import numpy as np
import pytest

from cxray.errors import DataError, OutputError, UsageError
from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.protocol import lock_path, lock_protocol
from cxray.tables import read_table, write_table
from cxray.workflow import openings
from cxray.workflow.compare import compare_tables
from cxray.workflow.evaluate import evaluate_table
from cxray.workflow.readers import judge_reader_table
from cxray.workflow.tables import Naming
from tests.report.predictions import two_classes

PROTOCOL = """
title = "One question"
secondary = ["sensitivity"]
subgroups = ["sex"]
[primary]
metric = "auroc"
at_least = 0.8
[harm]
low = 0.2
high = 0.4
"""


@pytest.fixture(autouse=True)
def _no_page(monkeypatch):
    """The pages have tests of their own; here they would only take time."""
    monkeypatch.setattr("cxray.workflow.evaluate.write_evaluation_report", lambda *_, **__: None)
    monkeypatch.setattr("cxray.workflow.compare.write_comparison_report", lambda *_, **__: None)


@pytest.fixture
def tables(tmp_path):
    """A test and a validation table on disk, with a column `sex`."""
    written = {}
    for name, seed, split in (("test", 0, "test"), ("validation", 1, "validation")):
        table = two_classes(seed=seed, split=split)
        sex = np.array(["F", "M"], dtype=object)[np.arange(len(table)) % 2]
        path = np.array([f"{split}/{number}.png" for number in range(len(table))], dtype=object)
        patient = np.array([f"{split}-{name}" for name in table.patient], dtype=object)
        table = dataclasses.replace(table, path=path, patient=patient, metadata={"sex": sex})
        written[name] = tmp_path / f"{name}.csv"
        table.write(written[name])
    return written


@pytest.fixture
def protocol(tmp_path):
    path = tmp_path / "protocol.toml"
    path.write_text(PROTOCOL)
    return path


def judge(tables, out, **options):
    return evaluate_table(tables["test"], out, threshold=0.5, pictures=False, **options)


def test_every_look_at_test_films_is_logged_and_repeated_looks_are_said(tables, tmp_path):
    first = judge(tables, tmp_path / "a")
    assert first.facts["openings"]["count"] == 1
    again = judge(tables, tmp_path / "b")
    assert (again.facts["openings"]["count"], again.facts["openings"]["different_tables"]) == (2, 1)
    assert not [text for text in again.facts["warnings"] if "opened" in text]
    other = two_classes(seed=5)
    original = read_table(tables["test"])
    scores = {f"score_{name}": other.scores[:, place] for place, name in enumerate(other.classes)}
    write_table(tables["test"], {**original, **scores})
    third = judge(tables, tmp_path / "c")
    assert (third.facts["openings"]["count"], third.facts["openings"]["different_tables"]) == (3, 2)
    assert [text for text in third.facts["warnings"] if "opened 3 times with 2 different tables" in text]
    (log,) = (openings.state_folder() / "openings").iterdir()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["source"] for line in lines] == ["test.csv"] * 3
    assert lines[0]["previous"] == ""
    assert str(tmp_path) not in log.read_text()  # no path of this machine


def test_a_note_from_elsewhere_counts_as_a_look(tables, tmp_path):
    openings.note(two_classes(split="train"), source="train.csv", purpose="train")
    assert not (openings.state_folder() / "openings").exists()
    openings.note(Naming().read(tables["test"]), source="run/test.csv", purpose="train")
    found = judge(tables, tmp_path / "a")
    assert found.facts["openings"]["count"] == 2
    assert found.facts["openings"]["earlier"][0]["purpose"] == "train"


def test_validation_films_are_no_test(tables, tmp_path):
    found = evaluate_table(tables["validation"], tmp_path / "out", threshold=0.5, pictures=False)
    assert "openings" not in found.facts
    assert not (openings.state_folder() / "openings").exists()


def test_a_line_taken_out_of_the_log_is_noticed(tables, tmp_path):
    for name in "abc":
        judge(tables, tmp_path / name)
    (log,) = (openings.state_folder() / "openings").iterdir()
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[0] + lines[2])
    found = judge(tables, tmp_path / "d")
    assert not found.facts["openings"]["is_intact"]
    assert any("log of openings was edited" in text for text in found.facts["warnings"])
    log.write_text("no JSON\n")
    assert not judge(tables, tmp_path / "e").facts["openings"]["is_intact"]


def test_a_look_that_cannot_be_logged_is_refused(tables, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("CXRAY_STATE", str(blocked))
    with pytest.raises(OutputError, match="Cannot write"):
        judge(tables, tmp_path / "out")
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_the_films_are_known_again_under_other_paths_and_in_another_order():
    table = two_classes()
    moved = dataclasses.replace(table, path=np.array([f"/elsewhere/{name}" for name in table.path], dtype=object))
    order = np.random.default_rng(0).permutation(len(table))
    assert openings.films_hash(moved.select(order)) == openings.films_hash(table)
    relabelled = dataclasses.replace(table, label=table.label[::-1].copy())
    assert openings.films_hash(relabelled) != openings.films_hash(table)


def test_a_judgement_under_a_protocol(tables, protocol, tmp_path):
    lock_protocol(protocol)
    found = evaluate_table(tables["test"], tmp_path / "out", protocol=protocol, slices=("label",), pictures=False)
    roles = {(record.name, record.slice): record.role for record in found.records}
    assert roles["auroc", ""] == "primary"
    assert roles["sensitivity", ""] == roles["sensitivity", "sex=F"] == "secondary"
    assert roles["specificity", ""] == roles["specificity", "label=NORMAL"] == "exploratory"
    assert roles["least_gain_in_harm_range", ""] == "secondary"
    facts = found.facts["protocol"]
    assert facts["primary"]["PNEUMONIA"]["met"] is True
    assert facts["in_force_sha256"] == facts["sha256"]
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert saved["facts"]["protocol"]["versions"] == 1
    assert {row["role"] for row in saved["records"]} == {"primary", "secondary", "exploratory"}
    assert (protocol.parent / "protocol.toml.openings.jsonl").read_text().count("\n") == 1
    curve, harm = found.tables["decision_curve"], found.record("least_gain_in_harm_range")
    inside = (curve["threshold"] >= 0.2 - 1e-9) & (curve["threshold"] <= 0.4 + 1e-9)
    gain = curve["net_benefit"] - np.maximum(curve["treat_all"], 0)
    assert harm.value == pytest.approx(gain[inside].min())


def test_what_is_added_after_the_opening_is_exploratory(tables, protocol, tmp_path):
    lock_protocol(protocol)
    _shift_lock(protocol, days=-1)
    evaluate_table(tables["test"], tmp_path / "a", protocol=protocol, pictures=False)
    protocol.write_text(PROTOCOL.replace('["sensitivity"]', '["sensitivity", "specificity"]'))
    lock_protocol(protocol, amend=True)
    _shift_lock(protocol, days=1, entry=1)
    found = evaluate_table(tables["test"], tmp_path / "b", protocol=protocol, pictures=False)
    assert found.record("specificity").role == "exploratory"
    assert found.record("sensitivity").role == "secondary"
    assert found.facts["protocol"]["added_after_opening"] == ["specificity"]
    assert any("hence exploratory: specificity" in text for text in found.facts["warnings"])


def test_a_protocol_locked_after_the_opening_confirms_nothing(tables, protocol, tmp_path):
    judge(tables, tmp_path / "peek")
    lock_protocol(protocol)
    _shift_lock(protocol, days=1)
    found = evaluate_table(tables["test"], tmp_path / "out", protocol=protocol, pictures=False)
    assert {record.role for record in found.records} == {"exploratory"}
    assert any("every analysis is exploratory" in text for text in found.facts["warnings"])


def _shift_lock(path, *, days, entry=0):
    """Move a lock in time, with its chain mended, as if it had been made then."""
    import datetime

    from cxray.evaluate import protocol as module

    where = lock_path(path)
    content = json.loads(where.read_text())
    at = datetime.datetime.fromisoformat(content["locks"][entry]["locked_at"]) + datetime.timedelta(days=days)
    content["locks"][entry]["locked_at"] = at.isoformat()
    for number, one in enumerate(content["locks"][1:], 1):
        one["previous"] = module._chained(content["locks"][number - 1])
    where.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive": "NORMAL"}, "--positive is settled"),
        ({"level": 0.9}, "--level is settled"),
        ({"threshold": 0.5}, "--threshold is settled"),
    ],
)
def test_what_a_protocol_settles_cannot_be_said_again(tables, protocol, tmp_path, options, message):
    lock_protocol(protocol)
    with pytest.raises(UsageError, match=message):
        evaluate_table(tables["test"], tmp_path / "out", protocol=protocol, **options)


def test_a_threshold_policy_needs_the_validation_table(tables, protocol, tmp_path):
    protocol.write_text(PROTOCOL + '[threshold]\npolicy = "youden"\n')
    lock_protocol(protocol)
    with pytest.raises(UsageError, match="--validation TABLE"):
        evaluate_table(tables["test"], tmp_path / "out", protocol=protocol)
    found = evaluate_table(
        tables["test"], tmp_path / "out", protocol=protocol, validation=tables["validation"], pictures=False
    )
    assert found.facts["threshold"]["policy"] == "youden"


def test_features_find_a_planted_stratum_and_a_planted_shift(tables, tmp_path):
    rng = np.random.default_rng(0)
    columns = {"path": [], "f0": [], "f1": []}
    planted = np.zeros(300, dtype=bool)
    planted[::5] = True
    for name, moved in (("test", 3.0), ("validation", 0.0)):
        table = read_table(tables[name])
        healthy = table["label"] == "NORMAL"
        columns["path"] += table["path"].tolist()
        columns["f0"] += (rng.normal(size=300) + 8.0 * planted).tolist()
        columns["f1"] += (rng.normal(size=300) + moved * healthy).tolist()
        if name == "test":  # films of the planted group get reversed scores
            ill = np.where(planted, 1 - table["score_PNEUMONIA"].astype(float), table["score_PNEUMONIA"].astype(float))
            write_table(tables[name], {**table, "score_PNEUMONIA": ill, "score_NORMAL": 1 - ill})
    where = tmp_path / "features.parquet"
    write_table(where, {key: np.array(value) for key, value in columns.items()})
    found = judge(tables, tmp_path / "out", features=(where,))
    strata = [record for record in found.records if record.name == "hidden_stratum_error_rate"]
    assert strata[0].value > 0.5 > max(record.value for record in strata[1:])
    found = evaluate_table(
        tables["test"], tmp_path / "v", validation=tables["validation"], features=(where,), pictures=False
    )
    shifted, alike = (found.record(f"feature_shift_{kind}") for kind in ("negative", "positive"))
    assert shifted.value > 0.9
    assert alike.value < 0.7
    listed = read_table(tmp_path / "out" / "tables" / "hidden_strata_films.csv")
    assert len(listed["path"]) == 300


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"f0": ["1", "2"]}, "no column 'path'"),
        ({"path": ["a", "b"]}, "no column of numbers"),
        ({"path": ["a", "a"], "f0": ["1", "2"]}, "features twice"),
        ({"path": ["a", "b"], "f0": ["1", "inf"]}, "not all finite"),
        ({"path": ["a", "b"], "f0": ["1", "x"]}, "where a number was expected"),
        ({"path": ["a", "b"], "f0": ["1", "2"]}, "None of the 300 judged films has features"),
    ],
)
def test_features_that_cannot_be_used(tables, tmp_path, columns, message):
    where = tmp_path / "features.csv"
    write_table(where, {key: np.array(value, dtype=object) for key, value in columns.items()})
    with pytest.raises(DataError, match=message):
        judge(tables, tmp_path / "out", features=(where,))


def test_too_few_patients_for_hidden_strata_is_said(tables, tmp_path):
    table = read_table(tables["test"])
    write_table(tmp_path / "f.csv", {"path": table["path"][:40], "f0": np.arange(40.0)})
    found = judge(tables, tmp_path / "out", features=(tmp_path / "f.csv",))
    assert "at least 80 patients" in found.record("hidden_stratum_error_rate").withheld


def test_a_table_of_another_tool(tables, tmp_path):
    table = read_table(tables["test"])
    foreign = {
        "image": table["path"], "who": table["patient"],
        "truth": np.where(table["label"] == "PNEUMONIA", "1", "0").astype(object), "p": table["score_PNEUMONIA"],
    }  # fmt: skip
    write_table(tmp_path / "vendor.csv", foreign)
    columns = ("path=image", "patient=who", "label=truth", "score_PNEUMONIA=p")
    naming = Naming(columns, ("1=PNEUMONIA", "0=NORMAL"))
    theirs = evaluate_table(tmp_path / "vendor.csv", tmp_path / "a", naming=naming, threshold=0.5, pictures=False)
    ours = judge(tables, tmp_path / "b")
    assert theirs.record("auroc").value == ours.record("auroc").value
    with pytest.raises(DataError, match="The only class with a score is 'PNEUMONIA', but the labels are: 0, 1"):
        evaluate_table(tmp_path / "vendor.csv", tmp_path / "c", naming=Naming(columns), threshold=0.5)
    for entry in ("1", "=PNEUMONIA", "1="):
        with pytest.raises(UsageError, match="not of the form theirs=class"):
            Naming(columns, (entry,)).read(tmp_path / "vendor.csv")
    with pytest.raises(UsageError, match="names '1' twice"):
        Naming(columns, ("1=A", "1=B")).read(tmp_path / "vendor.csv")


def test_comparing_is_opening_and_a_locked_margin_is_stated_beforehand(tables, protocol, tmp_path):
    protocol.write_text(PROTOCOL + "[comparison]\nmargin = 0.05\n")
    lock_protocol(protocol)
    worse = read_table(tables["test"])
    noisy = np.clip(worse["score_PNEUMONIA"].astype(float) * 0.5 + 0.5 * np.random.default_rng(0).random(300), 0, 1)
    write_table(tmp_path / "worse.csv", {**worse, "score_PNEUMONIA": noisy, "score_NORMAL": 1 - noisy})
    pair = (tables["test"], tmp_path / "worse.csv")
    found = compare_tables(pair, tmp_path / "out", protocol=protocol)
    assert found.facts["margin"] == 0.05
    assert found.facts["protocol"]["margin_stated_beforehand"] is True
    assert found.facts["openings"]["count"] == 2
    assert not [text for text in found.facts["warnings"] if "opened" in text]
    with pytest.raises(UsageError, match="--level is settled"):
        compare_tables(pair, tmp_path / "again", protocol=protocol, level=0.9)
    _shift_lock(protocol, days=1)
    late = compare_tables(pair, tmp_path / "late", protocol=protocol)
    assert late.facts["protocol"]["margin_stated_beforehand"] is False
    assert any("non-inferiority is exploratory" in text for text in late.facts["warnings"])


def test_what_was_saved_is_read_back(tables, tmp_path):
    found = judge(tables, tmp_path / "out")
    back = Evaluation.read(tmp_path / "out")
    assert back.records == found.records
    assert back.facts["table_sha256"] == found.facts["table_sha256"]
    np.testing.assert_allclose(back.tables["roc"]["sensitivity"], found.tables["roc"]["sensitivity"])
    assert back.tables["confusion"]["truth"].tolist() == found.tables["confusion"]["truth"].tolist()
    with pytest.raises(UsageError, match="no evaluation.json"):
        Evaluation.read(tmp_path)
    where = tmp_path / "out" / "evaluation.json"
    where.write_text(where.read_text().replace('"schema": 1', '"schema": 2', 1))
    with pytest.raises(DataError, match="newer cxray"):
        Evaluation.read(tmp_path / "out")
    where.write_text("{}")
    with pytest.raises(DataError, match="is damaged"):
        Evaluation.read(tmp_path / "out")


def test_readers_from_a_table(tmp_path):
    rng = np.random.default_rng(0)
    rows = {"path": [], "reader": [], "mode": [], "mark": [], "label": []}
    for case in range(60):
        ill = case % 2 == 0
        for mode, gain in (("alone", 1.0), ("with", 3.0)):
            for reader in "AB":
                row = (f"c{case}", reader, mode, f"{rng.normal() + gain * ill:.3f}", "ILL" if ill else "OK")
                for column, cell in zip(rows.values(), row, strict=True):
                    column.append(cell)
    write_table(tmp_path / "marks.csv", {name: np.array(cells, dtype=object) for name, cells in rows.items()})
    found = judge_reader_table(tmp_path / "marks.csv", tmp_path / "out", positive="ILL")
    difference = found.record("auroc_difference", slice="alone minus with")
    assert difference.high < 0
    assert (tmp_path / "out" / "readers.json").is_file()
    assert (tmp_path / "out" / "tables" / "areas.csv").is_file()
