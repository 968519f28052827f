"""Comparing models: alignment, paired statistics, verdicts, and the tests behind them against scipy."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import binomtest

from cxray.errors import DataError, UsageError
from cxray.evaluate import Goal, compare, paired
from cxray.evaluate.seeds import chance_better, corrected_t, seed_spread


@pytest.fixture
def models(make_table, with_scores):
    """A good model, one with much noise added, and the good one again."""
    table = make_table(300)
    rng = np.random.default_rng(1)
    noisy = 1 / (1 + np.exp(-(np.log(table.scores[:, 1] / table.scores[:, 0]) + 3 * rng.normal(size=300))))
    return {"good": table, "noisy": with_scores(table, noisy), "again": table}


def test_differences_verdicts_and_files(models, tmp_path):
    found = compare(models, goal=Goal(margin=0.05, harm=0.3))
    verdict = found.facts["questions"]["PNEUMONIA"]
    assert verdict["best"] == "good"
    assert verdict["tied_with_best"] == ["again"]
    answers = {one["candidate"]: one["is_not_inferior"] for one in verdict["non_inferiority"]}
    assert answers == {"noisy": False}
    single = {record.slice: record.value for record in found.records if record.name == "auroc"}
    pair = found.record("auroc_difference", slice="good minus noisy")
    assert pair.value == pytest.approx(single["model=good"] - single["model=noisy"])
    rows = found.tables["differences"]
    assert set(rows["measure"]) == {"auroc", "average_precision", "sensitivity", "specificity", "brier", "net_benefit"}
    assert (rows["p_holm"] >= rows["p"]).all()
    found.save(tmp_path)
    saved = json.loads((tmp_path / "comparison.json").read_text())
    assert saved["facts"]["films"] == 300
    assert (tmp_path / "tables" / "differences.csv").is_file()


def test_a_model_does_not_differ_from_itself(models):
    found = compare({"good": models["good"], "again": models["again"]})
    for record in found.records:
        if record.name.endswith("_difference"):
            assert record.value == 0
            assert record.low is None or record.low < 0 < record.high
    assert (found.tables["differences"]["p"] == 1).all()


def test_only_common_films_are_compared_in_any_order(models):
    reordered = models["noisy"].select(np.arange(299, 49, -1))
    found = compare({"good": models["good"], "noisy": reordered})
    assert found.facts["films"] == 250
    assert found.facts["left_out"] == {"good": 50, "noisy": 0}
    direct = compare({name: models[name].select(np.arange(50, 300)) for name in ("good", "noisy")})
    ours, theirs = (one.record("auroc_difference", slice="good minus noisy").value for one in (found, direct))
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_tables_that_do_not_belong_together(models, make_table, text):
    good = models["good"]
    with pytest.raises(UsageError, match="at least two tables, got 1"):
        compare({"good": good})
    with pytest.raises(DataError, match=r"no film in common; their first paths: test/0\.png \(good\), z0 \(other\)"):
        compare({"good": good, "other": dataclasses.replace(good, path=text(f"z{i}" for i in range(300)))})
    label = good.label.copy()
    label[3] = "NORMAL" if label[3] == "PNEUMONIA" else "PNEUMONIA"
    with pytest.raises(DataError, match=r"disagree about the truth of 1 films, for example test/3\.png"):
        compare({"good": good, "other": dataclasses.replace(good, label=label)})
    with pytest.raises(UsageError, match="good has NORMAL, PNEUMONIA"):
        compare({"good": good, "other": make_table(300, classes=3)})
    with pytest.raises(UsageError, match="no table named 'x'"):
        compare({"good": good, "noisy": good}, goal=Goal(groups={"x": "recipe"}))
    with pytest.raises(UsageError, match="margin must lie between 0 and 1"):
        Goal(margin=5)


def test_finding_without_a_common_film_is_withheld(make_table, text):
    base = make_table(60, label=text([""] * 60))
    findings = np.column_stack([np.full(60, np.nan), np.arange(60) % 2])
    table = dataclasses.replace(base, findings=findings)
    found = compare({"a": table, "b": dataclasses.replace(table, scores=table.scores[::-1])})
    assert found.record("auroc", "NORMAL", "model=a").withheld
    assert found.facts["questions"]["NORMAL"]["best"] is None
    assert found.facts["questions"]["PNEUMONIA"]["best"] in ("a", "b")


def test_seeds_of_recipes(models, make_table, with_scores):
    table = make_table(300)
    rng = np.random.default_rng(5)
    tables = {}
    for recipe, noise in (("fast", 2.0), ("best", 0.3)):
        for seed in range(3):
            logits = np.log(table.scores[:, 1] / table.scores[:, 0]) + noise * rng.normal(size=300)
            tables[f"{recipe}{seed}"] = with_scores(table, 1 / (1 + np.exp(-logits)))
    found = compare(tables, goal=Goal(groups={name: name[:-1] for name in tables}))
    assert found.record("chance_better", slice="fast over best").value == 0
    spread = found.record("auroc_over_seeds", slice="recipe=best")
    assert spread.low < spread.value < spread.high


def test_seed_statistics_by_hand():
    values = np.array([0.90, 0.92, 0.94])
    found = seed_spread(values)
    # t(2, 0.975) = 4.302653, standard deviation 0.02, for one new seed sqrt(1 + 1/3).
    assert found.value - found.low == pytest.approx(4.302653 * 0.02 * (4 / 3) ** 0.5, abs=1e-6)
    assert found.high == 1.0  # an AUROC cannot be larger, whatever t says
    same = seed_spread(np.full(3, 0.9))
    assert (same.value, same.low) == (0.9, None)
    assert "no interval" in same.assumptions[0]
    assert chance_better(values, values).value == 0.5
    assert "at least 3" in seed_spread(values[:2]).withheld
    assert "at least 3" in chance_better(values[:2], values).withheld
    t, p = corrected_t(np.array([0.01, 0.02, 0.03, 0.02]), 0.25)
    assert t == pytest.approx(0.02 / (np.var([0.01, 0.02, 0.03, 0.02], ddof=1) * 0.5) ** 0.5)
    assert 0 < p < 0.2
    assert corrected_t(np.zeros(4), 0.25) == (0.0, 1.0)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 3), (11, 1), (150, 86), (900, 1100)])
def test_exact_mcnemar_is_the_binomial_test(first, second):
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert paired.mcnemar_exact(first, second) == pytest.approx(expected, abs=1e-12)
    assert paired.mcnemar_exact(first, second, mid=True) <= paired.mcnemar_exact(first, second)


def test_tango_limits_are_where_the_score_test_turns_and_mirror_each_other():
    low, high = paired.tango(12, 2, 50)
    assert paired.tango(2, 12, 50) == pytest.approx((-high, -low))
    low, high = paired.tango(0, 0, 30)
    assert -0.2 < low < 0 < high < 0.2
    assert paired.tango(30, 0, 30)[1] == 1.0


def test_paired_difference_respects_patients():
    rng = np.random.default_rng(0)
    first, second = rng.random(100) < 0.9, rng.random(100) < 0.7
    once, p_once = paired.paired_difference(first, second, np.arange(100))
    twice, p_twice = paired.paired_difference(np.tile(first, 2), np.tile(second, 2), np.tile(np.arange(100), 2))
    assert once.method == "Tango, mid-p"
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert p_twice == pytest.approx(paired.mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))[1])
    assert p_once == pytest.approx(p_twice, rel=0.9)
    assert "No film" in paired.paired_difference(first[:0], second[:0], np.arange(0))[0].withheld


def test_adjustments_by_hand():
    assert paired.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert paired.benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert paired.holm([]) == []
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0]


def test_cochran_q_of_two_models_is_mcnemar():
    rng = np.random.default_rng(2)
    right = rng.random((80, 2)) < [0.9, 0.7]
    only = [int((right[:, 0] & ~right[:, 1]).sum()), int((right[:, 1] & ~right[:, 0]).sum())]
    assert paired.cochran_q(right) == pytest.approx(paired.mcnemar(*only))
    assert paired.cochran_q(np.ones((5, 3), dtype=bool)) == (0.0, 1.0)
