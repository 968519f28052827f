"""The gain over the shortcut floor: paired film by film, and withheld where films cannot be matched."""

import dataclasses

import numpy as np
import pytest

from cxray.errors import DataError
from cxray.evaluate import evaluate
from cxray.evaluate.floor import ProbeScores, match_paths, with_floor
from cxray.evaluate.ranking import auroc, paired_test
from cxray.tables import write_table
from tests.report.predictions import findings, many_classes, two_classes


def probes_of(table, strength=0.8, target="PNEUMONIA", seed=5, name="the outer 1/32 frame"):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, len(table))
    scores = {
        name: noise + strength * (table.label == target),
        "the file size": rng.normal(0, 1, len(table)),
        "whole thumbnail": rng.normal(0, 0.3, len(table)) + 3.0 * (table.label == target),
    }
    path = np.array([f"test/{name}" for name in table.path], dtype=object)
    return ProbeScores(path, np.full(len(table), target, dtype=object), table.label, scores, {"sha256": "ab"})


def test_the_gain_is_the_paired_clustered_difference_to_the_strongest_probe():
    table = two_classes()
    probes = probes_of(table)
    judged = with_floor(evaluate(table), table, probes)
    ill = table.label == "PNEUMONIA"
    border = probes.scores["the outer 1/32 frame"]
    floor = judged.record("shortcut_floor")
    assert floor.value == auroc(border, ill)
    _, codes = np.unique(table.patient.astype(str), return_inverse=True)
    expected, _ = paired_test(np.column_stack([table.scores[:, 1], border]), ill, codes)
    gain = judged.record("gain_over_floor")
    assert (gain.value, gain.low, gain.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)
    assert "the outer 1/32 frame" in gain.assumptions[0]
    assert gain.n_patients == 150


def test_a_thumbnail_is_shown_but_is_no_shortcut():
    table = two_classes()
    judged = with_floor(evaluate(table), table, probes_of(table))
    rows = judged.tables["floor"]
    assert rows["probe"][0] == "whole thumbnail"
    assert rows["is_shortcut"].tolist() == ["no", "yes", "yes"]
    assert judged.record("shortcut_floor").value < rows["auroc"][0]


def test_the_other_class_of_two_turns_the_probe_round():
    table = two_classes()
    judged = with_floor(evaluate(table, positive="NORMAL"), table, probes_of(table))
    straight = with_floor(evaluate(table), table, probes_of(table))
    assert judged.record("shortcut_floor").value == pytest.approx(straight.record("shortcut_floor").value)


@pytest.mark.parametrize(("kept", "is_given"), [(271, True), (270, True), (269, False)])
def test_nine_films_in_ten_must_be_matched(kept, is_given):
    table = two_classes()  # 300 films
    probes = probes_of(table)
    few = ProbeScores(
        probes.path[:kept], probes.target[:kept], probes.label[:kept], {n: s[:kept] for n, s in probes.scores.items()}
    )
    gain = with_floor(evaluate(table), table, few).record("gain_over_floor")
    assert (gain.value is not None) == is_given
    if not is_given:
        assert gain.withheld == "Only 269 of 300 films have a probe score and the same label in the audit."


def test_films_that_the_audit_labels_otherwise_do_not_count():
    table = two_classes()
    probes = probes_of(table)
    label = probes.label.copy()
    label[:60] = "OTHER"
    gain = with_floor(evaluate(table), table, dataclasses.replace(probes, label=label)).record("gain_over_floor")
    assert gain.withheld.startswith("Only 240 of 300 films")


def test_a_question_without_a_probe_says_so():
    table = many_classes(["A", "B", "C"])
    judged = with_floor(evaluate(table), table, probes_of(table, target="B"))
    assert judged.record("gain_over_floor", "A").withheld == "The audit has no probe for A."
    assert judged.record("gain_over_floor", "B").value is not None
    assert set(judged.tables["floor"]["label"]) == {"B"}


def test_findings_are_matched_without_labels():
    table = findings(["effusion", "mass"])
    probes = probes_of(table, target="effusion")
    probes = dataclasses.replace(probes, label=np.full(len(table), "", dtype=object))
    judged = with_floor(evaluate(table, threshold=0.5), table, probes)
    assert judged.record("shortcut_floor", "effusion").value is not None


def test_one_class_has_no_floor():
    table = two_classes(films=60, share=1.0)
    gain = with_floor(evaluate(table, threshold=0.5), table, probes_of(table)).record("gain_over_floor")
    assert gain.withheld == "The floor needs films of both classes."


def test_paths_are_matched_by_their_longest_common_end():
    known = np.array(["test/A/1.png", "test/B/1.png", "2.png", "x/3.png"], dtype=object)
    wanted = np.array(["/films/test/A/1.png", "B\\1.png", "/films/2.png", "1.png", "y/3.png", "none.png"], dtype=object)
    assert match_paths(wanted, known).tolist() == [0, 1, 2, -1, 3, -1]


def test_an_audits_table_is_read_with_its_hash(tmp_path):
    columns = {
        name: np.array(cells, dtype=object)
        for name, cells in {"path": ["a"], "split": ["test"], "label": ["X"], "target": ["X"]}.items()
    }
    write_table(tmp_path / "probe_scores.csv", {**columns, "score_the border": np.array([0.25])})
    read = ProbeScores.read(tmp_path / "probe_scores.csv")
    assert read.scores["the border"].tolist() == [0.25]
    assert len(read.facts["sha256"]) == 64


def test_another_table_is_refused(tmp_path):
    write_table(tmp_path / "t.csv", {"path": np.array(["a"], dtype=object)})
    with pytest.raises(DataError, match="no table of probe scores"):
        ProbeScores.read(tmp_path / "t.csv")
