import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxray.data.audit.probes import auroc, components, curved, folds_of, has_enough, held_out_scores


def test_auroc_agrees_with_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    target = rng.random(300) < 0.4
    scores = np.round(rng.normal(size=300) + target, 1)
    found = auroc(scores, target, np.arange(300), 0)
    assert found.value == pytest.approx(roc_auc_score(target, scores), abs=1e-12)
    assert found.low < found.value < found.high


def test_patients_with_many_films_widen_the_interval():
    rng = np.random.default_rng(0)
    target = np.repeat(rng.random(60) < 0.5, 10)
    scores = np.repeat(rng.normal(size=60), 10) + 0.5 * target
    one_film_each = auroc(scores, target, np.arange(600), 0)
    by_patient = auroc(scores, target, np.repeat(np.arange(60), 10), 0)
    assert by_patient.value == one_film_each.value
    assert by_patient.high - by_patient.low > 2 * (one_film_each.high - one_film_each.low)


def test_folds_keep_patients_together_and_are_of_like_size():
    patient = np.random.default_rng(0).integers(0, 50, 400)
    patient = np.unique(patient, return_inverse=True)[1]
    fold = folds_of(patient, 0)
    assert all(len(set(fold[patient == one])) == 1 for one in range(50))
    assert np.ptp(np.bincount(fold)) <= 30
    assert (folds_of(patient, 0) == fold).all()
    assert (folds_of(patient, 1) != fold).any()


def test_held_out_scores_know_what_can_be_known_and_nothing_else():
    rng = np.random.default_rng(0)
    target = rng.random(300) < 0.5
    useful, noise = rng.normal(size=(300, 1)) + 2 * target[:, None], rng.normal(size=(300, 5))
    patient = np.arange(300)
    assert auroc(held_out_scores(useful, target, patient, 0), target, patient, 0).low > 0.85
    assert auroc(held_out_scores(noise, target, patient, 0), target, patient, 0).low < 0.55


def test_a_fold_that_leaves_one_class_to_learn_from_gives_no_opinion():
    target = np.array([True] + [False] * 9)
    scores = held_out_scores(np.arange(10.0)[:, None], target, np.arange(10), 0)
    assert scores[0] == 0.0


def test_components_are_found_on_the_reference_only_and_survive_flat_films():
    rng = np.random.default_rng(0)
    films = rng.normal(size=(50, 30))
    reference = np.arange(50) < 40
    first = components(films, reference, 8)
    films[45] += 100
    assert np.allclose(components(films, reference, 8)[:40], first[:40])
    assert first.shape == (50, 8)
    assert np.isfinite(components(np.zeros((10, 30)), np.ones(10, dtype=bool))).all()


def test_curved_features_hold_the_square_and_cut_outliers():
    values = curved(np.concatenate([np.zeros(99), [1000.0]])[:, None])
    assert values.shape == (100, 2)
    assert values.max() == 9


@pytest.mark.parametrize(("patients", "enough"), [(19, False), (20, True)])
def test_patients_are_counted_not_films(patients: int, enough: bool):
    target = np.repeat([True, False], 5 * patients)
    patient = np.arange(10 * patients) // 5
    assert has_enough(target, patient) == enough
