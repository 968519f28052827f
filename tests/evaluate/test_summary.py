"""The whole desk: operating points, bad input, several classes and findings, and what is saved."""

import contextlib
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

import cxray
from cxray.errors import CxrayError, DataError, LabelError, SealedTestError, UsageError
from cxray.evaluate import Evaluation, Record, evaluate
from cxray.evaluate.screening import fingerprint
from cxray.tables import read_table

CORE = {
    "auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy", "brier",
    "log_loss", "calibration_slope", "calibration_intercept", "net_benefit",
}  # fmt: skip
EXHIBITS = {"roc", "precision_recall", "score_histogram", "confusion", "calibration", "decision_curve"}


@pytest.fixture(scope="module")
def judged(make_table) -> Evaluation:
    return evaluate(
        make_table(), validation=make_table(seed=1, split="validation"), prevalence=(0.1,), slices=("site",)
    )


def test_every_promised_record_and_exhibit_is_there(judged):
    assert {record.name for record in judged.records} >= CORE
    assert set(judged.tables) >= EXHIBITS
    for columns in judged.tables.values():
        assert "label" in columns
        assert len({len(column) for column in columns.values()}) == 1


def test_records_count_what_they_rest_on(judged, make_table):
    table = make_table()
    ill = table.label == "PNEUMONIA"
    sensitivity = judged.record("sensitivity")
    assert (sensitivity.n_images, sensitivity.n_patients) == (ill.sum(), len(set(table.patient[ill])))
    assert judged.record("auroc").n_images == 200


def test_confusion_table_agrees_with_the_rates(judged):
    columns = judged.tables["confusion"]
    cells = dict(zip(zip(columns["truth"], columns["decision"], strict=True), columns["films"], strict=True))
    expected = cells["positive", "positive"] / (cells["positive", "positive"] + cells["positive", "negative"])
    assert judged.record("sensitivity").value == pytest.approx(expected)
    assert sum(cells.values()) == 200


def test_saved_files_follow_the_contract(judged, tmp_path):
    judged.save(tmp_path)
    saved = json.loads((tmp_path / "evaluation.json").read_text())
    assert saved["schema"] == 1
    assert [Record.from_dict(record) for record in saved["records"]] == list(judged.records)
    assert saved["facts"]["threshold"]["origin"] == "chosen on the validation table"
    assert {path.stem for path in (tmp_path / "tables").iterdir()} == set(saved["tables"]) == set(judged.tables)
    assert len(read_table(tmp_path / "tables" / "roc.csv")["threshold"]) == len(judged.tables["roc"]["threshold"])


def test_same_seed_same_numbers(judged, make_table):
    again = evaluate(
        make_table(), validation=make_table(seed=1, split="validation"), prevalence=(0.1,), slices=("site",)
    )
    assert again.records == judged.records


def test_threshold_carries_the_hash_of_its_table(judged, make_table):
    threshold = judged.facts["threshold"]
    assert threshold["table_sha256"] == fingerprint(make_table(seed=1, split="validation"))
    assert threshold["split"] == "validation"
    assert judged.facts["table_sha256"] == fingerprint(make_table())


def test_the_room_can_be_called(make_table):
    assert cxray.evaluate(make_table(), threshold=0.5).records == evaluate(make_table(), threshold=0.5).records


def test_order_of_where_the_operating_point_comes_from(make_table):
    table = make_table()
    decided = np.where(table.scores[:, 1] >= 0.7, "PNEUMONIA", "NORMAL").astype(object)
    frozen = dataclasses.replace(table, decision=decided)
    validation = make_table(seed=1, split="validation")
    origins = [
        evaluate(frozen, validation=validation, threshold=0.2).facts["threshold"],
        evaluate(frozen, threshold=0.2).facts["threshold"],
        evaluate(frozen).facts["threshold"],
        evaluate(table).facts["threshold"],
    ]
    assert [one["origin"] for one in origins] == [
        "chosen on the validation table",
        "given by the user",
        "frozen by the model's bundle",
        "most probable class",
    ]
    assert origins[2]["value"] == pytest.approx(0.7, abs=0.02)
    assert [origins[1]["value"], origins[3]["value"]] == [0.2, 0.5]
    assert "0.5 (the most probable class) is used" in " ".join(evaluate(table).facts["warnings"])


def test_stored_threshold_column_is_used_and_checked(make_table):
    table = make_table()
    stored = {**table.metadata, "threshold": np.full(200, "0.35", dtype=object)}
    found = evaluate(dataclasses.replace(table, metadata=stored)).facts["threshold"]
    assert (found["value"], found["origin"]) == (0.35, "frozen by the model's bundle")
    decided = np.where(table.scores[:, 1] >= 0.7, "PNEUMONIA", "NORMAL").astype(object)
    contradicting = evaluate(dataclasses.replace(table, metadata=stored, decision=decided))
    assert "do not follow from the stored threshold 0.35" in " ".join(contradicting.facts["warnings"])


def test_incomplete_decisions_are_not_used(make_table):
    decided = np.full(200, "PNEUMONIA", dtype=object)
    decided[0] = ""
    found = evaluate(dataclasses.replace(make_table(), decision=decided))
    assert found.facts["threshold"]["origin"] == "most probable class"
    assert "decision column is incomplete" in " ".join(found.facts["warnings"])


def test_test_films_cannot_choose_a_threshold(make_table, text):
    with pytest.raises(SealedTestError, match="split is 'test'"):
        evaluate(make_table(), validation=make_table(seed=1, split="test", path=text(f"x{i}" for i in range(200))))
    with pytest.raises(SealedTestError, match="very films that are judged"):
        evaluate(make_table(split="validation"), validation=make_table(split="validation"))


def test_shared_patients_are_told(make_table):
    validation = make_table(seed=1, split="validation", patient=make_table().patient)
    found = evaluate(make_table(), validation=validation)
    assert "patients are in both the judged and the validation table" in " ".join(found.facts["warnings"])


def test_films_without_a_result_are_counted_and_bounded(make_table):
    table = make_table()
    scores, error = table.scores.copy(), table.error.copy()
    scores[:5], error[:5] = np.nan, "cannot decode"
    scores[5] = np.nan
    found = evaluate(dataclasses.replace(table, scores=scores, error=error), threshold=0.5)
    assert found.facts["films_unscored"] == 6
    assert {one["reason"] for one in found.facts["unscored"]} == {"cannot decode", "the score is missing"}
    assert found.record("sensitivity_worst_case").value < found.record("sensitivity").value
    assert len(found.tables["unscored"]["path"]) == 6


def test_positive_class_is_stated_not_guessed(make_table):
    assert "No positive class was named" in evaluate(make_table()).facts["positive_reason"]
    turned = evaluate(make_table(), positive="NORMAL")
    assert turned.facts["positive"] == "NORMAL"
    assert turned.record("auroc").value == pytest.approx(evaluate(make_table()).record("auroc").value)
    with pytest.raises(UsageError, match="Did you mean 'PNEUMONIA'"):
        evaluate(make_table(), positive="pneumonai")


@pytest.mark.parametrize("label", ["NORMAL", "PNEUMONIA"])
def test_one_class_only_gives_reasons_not_numbers(label, make_table):
    found = evaluate(make_table(label=np.full(200, label, dtype=object)), threshold=0.5)
    for name in ("auroc", "average_precision", "scaled_brier", "calibration_slope", "balanced_accuracy"):
        record = found.record(name)
        assert record.value is None
        assert record.withheld.endswith(".")
    known = "sensitivity" if label == "PNEUMONIA" else "specificity"
    assert found.record(known).value is not None
    assert "roc" not in found.tables


def test_all_scores_equal_never_claim_precision(make_table, with_scores):
    found = evaluate(with_scores(make_table(), np.full(200, 0.5)), threshold=0.5)
    assert found.record("auroc").value == 0.5
    assert found.record("auroc").high - found.record("auroc").low > 0.1
    assert found.record("calibration_slope").withheld


def test_eight_positives_are_marked(make_table, text):
    label = np.where(np.arange(200) < 8, "PNEUMONIA", "NORMAL").astype(object)
    found = evaluate(make_table(label=label, patient=text(range(200))), threshold=0.5)
    assert "Only 8 films in the smaller class." in found.record("auroc").assumptions
    assert found.record("auroc").method.startswith("score interval")


def test_perfect_scores_never_print_a_point_interval(make_table, with_scores):
    table = make_table()
    perfect = np.where(table.label == "PNEUMONIA", 0.99, 0.01)
    for record in evaluate(with_scores(table, perfect), threshold=0.5).records:
        if record.value in (0.0, 1.0) and record.low is not None:
            assert record.low < record.high, record.name


def test_missing_patients_say_what_is_lost(make_table):
    found = evaluate(make_table(patient=np.full(200, "", dtype=object)), threshold=0.5)
    assert "names no patients" in " ".join(found.facts["warnings"])
    assert found.record("auroc").n_patients == 0
    assert "Patients unknown" in " ".join(found.record("auroc").assumptions)


def test_repeated_rows_count_once_and_contradictions_are_refused(make_table):
    table = make_table()
    doubled = table.select(np.concatenate([np.arange(200), np.arange(20)]))
    found = evaluate(doubled, threshold=0.5)
    assert found.facts["duplicates_removed"] == 20
    assert found.record("auroc") == evaluate(table, threshold=0.5).record("auroc")
    scores = doubled.scores.copy()
    scores[210] = scores[210][::-1]
    with pytest.raises(DataError, match="1 films are listed twice with different contents"):
        evaluate(dataclasses.replace(doubled, scores=scores))


def test_labels_unknown_to_the_scores(make_table):
    label = make_table().label.copy()
    label[:7] = "FRACTURE"
    found = evaluate(make_table(label=label), threshold=0.5)
    assert found.facts["unknown_labels"] == {"FRACTURE": 7}
    assert found.facts["films"] == 193
    with pytest.raises(LabelError, match="Did you mean 'NORMAL'"):
        evaluate(make_table(label=np.full(200, "normal", dtype=object)))
    with pytest.raises(DataError, match="None of the 200 films can be judged"):
        evaluate(make_table(label=np.full(200, "", dtype=object)))


def test_mixed_and_training_splits_are_told(make_table, text):
    split = text(["train"] * 100 + ["test"] * 100)
    table = dataclasses.replace(make_table(), split=split)
    assert "mixes splits (100 test, 100 train)" in " ".join(evaluate(table, threshold=0.5).facts["warnings"])
    only = evaluate(make_table(split="train"), threshold=0.5)
    assert "All films are training films" in " ".join(only.facts["warnings"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"level": 1.0}, "confidence level must lie between"),
        ({"level": 95}, "confidence level must lie between"),
        ({"prevalence": (10,)}, "A prevalence must lie between 0 and 1"),
        ({"threshold": 1.5}, "A threshold must lie between 0 and 1"),
        ({"slices": ("sites",)}, "no column 'sites' to slice by"),
        ({"policy": "best"}, "no threshold policy"),
    ],
)
def test_options_that_cannot_be_meant(option, message, make_table):
    with pytest.raises(UsageError, match=message):
        evaluate(make_table(), **option)


def test_one_class_of_several_can_be_named_and_gets_a_threshold(make_table):
    validation = make_table(classes=4, seed=1, split="validation")
    found = evaluate(make_table(classes=4), positive="OTHER", validation=validation)
    assert found.facts["threshold"]["policy"] == "target_sensitivity:0.95"
    assert {record.label for record in found.records if record.name == "auroc"} == {"OTHER"}
    alone = evaluate(make_table(classes=4)).record("auroc", "OTHER")
    assert found.record("auroc").value == alone.value


def test_more_than_two_classes_are_judged_one_against_the_rest(make_table):
    found = evaluate(make_table(classes=4))
    assert {record.label for record in found.records if record.name == "auroc"} == set(make_table(classes=4).classes)
    mean = np.mean([record.value for record in found.records if record.name == "auroc"])
    assert found.record("macro_auroc").value == pytest.approx(mean)
    assert found.record("macro_auroc").low < mean < found.record("macro_auroc").high
    assert found.record("hand_till_auroc").value > 0.7
    table = make_table(classes=4)
    right = np.array(table.classes)[table.scores.argmax(axis=1)] == table.label
    assert found.record("accuracy", "").value == pytest.approx(right.mean())
    assert found.tables["confusion_classes"]["films"].sum() == 200


@pytest.fixture
def multi_label(make_table):
    def make(seed=0, split="test"):
        base = make_table(seed=seed, split=split)
        findings = (np.random.default_rng(seed).random((200, 2)) < base.scores).astype(float)
        findings[:30, 0] = np.nan
        return dataclasses.replace(base, label=np.full(200, "", dtype=object), findings=findings)

    return make


def test_findings_are_judged_one_by_one_with_unknown_truth_masked(multi_label):
    found = evaluate(multi_label(), validation=multi_label(1, "validation"))
    assert found.record("auroc", "NORMAL").n_images == 170
    assert found.record("auroc", "PNEUMONIA").n_images == 200
    assert set(found.facts["thresholds"]) == {"NORMAL", "PNEUMONIA"}
    assert found.facts["threshold"] is None
    assert set(found.tables["findings"]["label"]) == {"NORMAL", "PNEUMONIA"}
    assert (found.tables["findings"]["p_holm"] >= found.tables["findings"]["p"]).all()


def test_finding_without_validation_cases_falls_back_with_a_warning(multi_label):
    validation = multi_label(1, "validation")
    findings = validation.findings.copy()
    findings[:, 0] = 0
    found = evaluate(multi_label(), validation=dataclasses.replace(validation, findings=findings))
    assert found.facts["thresholds"]["NORMAL"]["origin"] == "most probable class"
    assert found.facts["thresholds"]["PNEUMONIA"]["origin"] == "chosen on the validation table"
    assert "NORMAL: 0.5 is used as threshold" in " ".join(found.facts["warnings"])


def test_scores_of_exactly_zero_and_one_are_judged(make_table, with_scores):
    table, validation = make_table(), make_table(seed=1, split="validation")
    hard = [with_scores(one, (one.scores[:, 1] > 0.5).astype(float)) for one in (table, validation)]
    found = evaluate(hard[0], validation=hard[1])
    assert "infinite" in found.record("log_loss").withheld
    assert found.record("calibration_slope").value is not None
    assert "moved inwards" in " ".join(found.record("calibration_slope").assumptions)


def test_finding_that_is_neither_yes_nor_no(multi_label):
    table = multi_label()
    findings = table.findings.copy()
    findings[50, 1] = 2
    with pytest.raises(LabelError, match="must be 1, 0 or empty, but 2 occurs"):
        evaluate(dataclasses.replace(table, findings=findings))


def test_a_model_of_one_class_is_judged(make_table):
    table = make_table()
    one = dataclasses.replace(table, classes=("PNEUMONIA",), scores=table.scores[:, 1:])
    assert evaluate(one).record("auroc").value == pytest.approx(evaluate(table).record("auroc").value)


def test_films_outside_the_gate_are_told(make_table, text):
    found = evaluate(make_table(gate=text(["outside"] * 3 + ["inside"] * 197)), threshold=0.5)
    assert "calls 3 judged films 'outside'" in " ".join(found.facts["warnings"])


def test_four_classes_with_validation_get_conformal_sets(make_table):
    found = evaluate(make_table(400, classes=4), validation=make_table(400, classes=4, seed=1, split="validation"))
    assert len(found.tables["conformal"]["class"]) == 4
    assert "transport" not in found.tables
    for record in found.records:
        if record.name == "conformal_coverage":
            assert record.value == pytest.approx(0.9, abs=0.12)


def test_transport_table_compares_both_tables(make_table):
    found = evaluate(make_table(), validation=make_table(seed=1, split="validation"))
    columns = found.tables["transport"]
    row = list(columns["measure"]).index("sensitivity")
    assert columns["judged_value"][row] == pytest.approx(found.record("sensitivity").value)
    assert columns["validation_value"][row] == pytest.approx(found.facts["threshold"]["sensitivity"])


@pytest.mark.parametrize("patients", [1, 2, 9])
def test_many_films_of_few_patients_never_look_precise(make_table, text, patients):
    few = evaluate(make_table(patient=text(f"p{row % patients}" for row in range(200))), threshold=0.5)
    many = evaluate(make_table(patient=text(range(200))), threshold=0.5)
    for name in ("auroc", "sensitivity", "specificity", "accuracy"):
        narrow, wide = (one.record(name).high - one.record(name).low for one in (many, few))
        assert wide > 2 * narrow
    for name in ("brier", "average_precision", "calibration_slope", "net_benefit", "f1"):
        record = few.record(name)
        assert record.value is not None
        assert record.low is None
        assert "too few for an interval" in " ".join(record.assumptions)


@pytest.mark.parametrize("films", [1, 2, 3, 5])
def test_hardly_any_films_never_crash(films, make_table):
    found = evaluate(make_table(200).select(np.arange(films)), threshold=0.5, prevalence=(0.2,), slices=("site",))
    assert found.record("auroc").n_images == films
    json.dumps(found.to_dict(), allow_nan=False)


def test_random_broken_tables_end_in_a_judgement_or_a_clear_error(make_table):
    rng = np.random.default_rng(0)
    judged = 0
    for seed in range(40):
        table = make_table(int(rng.integers(2, 40)), seed=seed)
        scores = np.clip(np.round(table.scores, int(rng.integers(0, 3))), 0, 1)
        scores[rng.random(len(scores)) < rng.choice([0, 0.3])] = np.nan
        label = table.label.copy()
        label[rng.random(len(label)) < rng.choice([0, 0.5, 1])] = rng.choice(["", "NORMAL", "PNEUMONIA", "X"])
        broken = dataclasses.replace(table, scores=scores, label=label)
        # Anything but our own family of errors would fail the test.
        with contextlib.suppress(CxrayError):
            json.dumps(evaluate(broken, prevalence=(0.1,), slices=("site",)).to_dict(), allow_nan=False)
            judged += 1
    assert judged > 20


def test_importing_the_room_loads_no_heavy_library():
    code = (
        "import sys, cxray.evaluate, cxray.evaluate.thresholds, cxray.evaluate.calibration; "
        "print([name for name in ('scipy', 'sklearn', 'tensorflow', 'matplotlib') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
