"""Slices, planted strata and planted shifts are found; nothing is claimed where there is nothing."""

import numpy as np
import pytest
from scipy.special import expit

from cxray.errors import UsageError
from cxray.evaluate import evaluate, shift
from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.screening import screen, tasks
from cxray.evaluate.slices import hidden_strata, judge_slices, values_of


@pytest.fixture
def planted(make_table, with_scores):
    """On site B the scores say nothing; everywhere else they are good."""
    table = make_table(600)
    rng = np.random.default_rng(0)
    truth = table.label == "PNEUMONIA"
    on_b = table.metadata["site"] == "B"
    scores = expit(np.where(on_b, rng.normal(size=600), 2 * rng.normal(size=600) + 5 * truth - 2.5))
    return with_scores(table, scores)


def single(table):
    return tasks(screen(table).table)[0]


def test_planted_bad_site_is_found(planted):
    task = single(planted)
    records, columns = judge_slices(planted, task, task.scores >= 0.5, ["site"], 0.95)
    found = {(record.slice, record.name): record for record in records}
    bad = found["site=B", "auroc_difference"]
    assert bad.high < -0.2
    assert (columns["p_holm"][columns["measure"] == "auroc"] < 1e-6).all()
    assert found["site=B", "auroc"].value == pytest.approx(0.5, abs=0.1)


def test_slice_equals_judging_its_films_alone(planted):
    task = single(planted)
    records, _ = judge_slices(planted, task, task.scores >= 0.5, ["site"], 0.95)
    alone = evaluate(planted.select(planted.metadata["site"] == "A"), threshold=0.5)
    for name in ("auroc", "sensitivity", "specificity"):
        inside = next(record for record in records if (record.slice, record.name) == ("site=A", name))
        assert (inside.value, inside.low, inside.high) == pytest.approx(
            (alone.record(name).value, alone.record(name).low, alone.record(name).high)
        )


@pytest.mark.parametrize(("patients", "says"), [(LEAST_PATIENTS - 1, False), (LEAST_PATIENTS, True)])
def test_too_few_patients_are_not_judged(make_table, text, patients, says):
    label = text(["PNEUMONIA"] * 60 + ["NORMAL"] * 60)
    rare = text(["yes"] * patients + ["no"] * (60 - patients) + ["yes"] * 30 + ["no"] * 30)
    table = make_table(120, label=label, patient=text(range(120)), metadata={"rare": rare})
    task = single(table)
    records, _ = judge_slices(table, task, task.scores >= 0.5, ["rare"], 0.95)
    found = next(record for record in records if (record.slice, record.name) == ("rare=yes", "sensitivity"))
    assert (found.value is not None) == says
    if not says:
        assert found.withheld == "Too few to say: 9 patients, and at least 10 of each class are needed."


def test_numbers_are_cut_into_quarters_and_empty_cells_left_out(make_table, text):
    ages = text([*range(199), ""])
    slices = values_of(make_table(metadata={"age": ages}), "age")
    assert len(slices) == 4
    assert np.sum(list(slices.values())) == 199
    assert max(films.sum() for films in slices.values()) <= 51


def test_columns_that_cannot_be_sliced(make_table, text):
    table = make_table(metadata={"name": text(f"n{i}" for i in range(200))})
    with pytest.raises(UsageError, match="has 200 different values"):
        values_of(table, "name")
    with pytest.raises(UsageError, match=r"no column 'sex'.*Use one of: name, split, gate, label"):
        values_of(table, "sex")


def test_hidden_stratum_is_found_only_where_one_is_planted(planted):
    task = single(planted)
    rng = np.random.default_rng(3)
    on_b = (planted.metadata["site"] == "B").astype(float)
    features = np.column_stack([8 * on_b, rng.normal(size=(600, 3))])
    found = hidden_strata(features, task, task.scores >= 0.5, groups=2)
    assert found["error_rate"][0] > 0.3 > found["error_rate"][1]
    assert found["p_holm"][0] < 1e-6
    nothing = hidden_strata(rng.normal(size=(600, 4)), task, task.scores >= 0.5, groups=3)
    assert nothing["p_holm"].min() > 0.01


def test_prevalence_is_recovered_by_both_methods():
    rng = np.random.default_rng(1)

    def draw(share, films=20_000):
        ill = rng.random(films) < share
        return expit(1.5 * (rng.normal(size=films) + 1.5 * ill) - 1.5**2 / 2), ill

    now, truth = draw(0.1)
    assert shift.prevalence_by_em(now, 0.5) == pytest.approx(truth.mean(), abs=0.01)
    found = shift.prevalence_interval(now[:4000], 0.5, np.arange(4000))
    assert found.low < 0.1 < found.high
    adjusted = shift.adjust_prevalence(now, 0.5, 0.1)
    assert adjusted.mean() == pytest.approx(0.1, abs=0.01)
    assert shift.adjust_prevalence(adjusted, 0.1, 0.5) == pytest.approx(now)
    assert "both classes" in shift.prevalence_interval(now, 1.0, np.arange(20_000)).withheld


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_prevalence_of_hard_scores_does_not_divide_by_zero(share):
    scores = np.full(50, share)
    assert shift.prevalence_by_em(scores, 0.5) == pytest.approx(share, abs=1e-6)
    mixed = np.array([0.0, 0.0, 0.0, 1.0])
    assert shift.prevalence_by_em(mixed, 0.5) == pytest.approx(0.25)


def test_prevalence_by_calls(make_table):
    task = single(make_table(600))
    calls = task.scores >= 0.5
    assert shift.prevalence_by_calls(task, calls, calls) == pytest.approx(task.is_positive.mean())
    assert shift.prevalence_by_calls(task, np.ones(600, dtype=bool), calls) is None


def test_transport_shows_the_planted_collapse(make_table, with_scores):
    validation = single(make_table(600, seed=1, split="validation"))
    moved = make_table(600)
    healthy = moved.label == "NORMAL"
    scores = np.where(healthy, np.clip(moved.scores[:, 1] + 0.3, 0, 1), moved.scores[:, 1])
    judged = single(with_scores(moved, scores))
    columns = shift.transport(validation, judged, 0.5)
    by_measure = {name: row for row, name in enumerate(columns["measure"])}
    assert columns["difference_high"][by_measure["specificity"]] < -0.1
    assert abs(columns["difference_value"][by_measure["sensitivity"]]) < 0.12
    drift = shift.score_shift(validation, judged)
    assert drift[False].low > 0.6
    assert drift[True].low < 0.5 < drift[True].high


def test_local_films_repair_a_planted_offset(make_table, with_scores):
    table = make_table(900)
    truth = table.label == "PNEUMONIA"
    rng = np.random.default_rng(0)
    logits = 3 * (truth - 0.5) + 1.5 * rng.normal(size=900)
    curve = shift.repair_curve(single(with_scores(table, expit(logits + 3))))
    assert curve["patients"][0] == 0
    assert curve["intercept_log_loss"][-1] < 0.8 * curve["intercept_log_loss"][0]
    assert curve["platt_low"][-1] <= curve["platt_log_loss"][-1] <= curve["platt_high"][-1] + 0.05


@pytest.mark.parametrize(("moved", "is_seen"), [(0.0, False), (1.0, True)])
def test_two_sample_test_sees_only_a_real_shift(moved, is_seen):
    rng = np.random.default_rng(7)
    first, second = rng.normal(size=(150, 5)), rng.normal(size=(150, 5)) + moved
    area, p = shift.two_sample_test(first, second, np.arange(150) // 2, np.arange(150) // 2)
    assert (p < 0.02) == is_seen
    assert (area > 0.75) == is_seen


def test_a_network_that_says_the_same_of_every_film_has_nothing_to_repair(make_table, with_scores):
    table = make_table(120)
    task = single(with_scores(table, 0.4996 + 1e-11 * np.arange(120)))
    found = shift.patients_to_repair(task, shift.repair_curve(task))
    assert found.value is None
    assert found.withheld == "All scores are equal, so there is nothing to recalibrate."
