"""Small changes to a finished model: what each method can mend, and what it leaves alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cxray.errors import UsageError
from cxray.runtime.adaptation import AS_IS, HEAD, RECALIBRATE, THRESHOLD, LocalFilms, fit_change

RNG = np.random.default_rng(2)


def hospital(films: int = 600, *, slope: float = 1.0, offset: float = 0.0, exclusive: bool = True) -> LocalFilms:
    """Films whose truth follows the model's logit after `slope` and `offset`, and a feature the model ignores."""
    features = RNG.normal(size=(films, 5))
    logit = 2 * features[:, 0]
    truth = RNG.uniform(size=films) < 1 / (1 + np.exp(-(slope * logit + offset)))
    if exclusive:
        return LocalFilms(np.c_[-logit / 2, logit / 2], features, np.c_[~truth, truth].astype(float), True)
    return LocalFilms(logit[:, None], features, truth[:, None].astype(float), False)


@pytest.mark.parametrize("exclusive", [True, False])
def test_recalibration_finds_slope_and_offset(exclusive: bool) -> None:
    films = hospital(20_000, slope=0.5, offset=-1.0, exclusive=exclusive)
    change = fit_change(RECALIBRATE, films)
    bias = change.bias[1] - change.bias[0] if exclusive else change.bias[0]
    assert change.slope == pytest.approx(0.5, abs=0.05)
    assert bias == pytest.approx(-1.0, abs=0.08)
    assert films.loss(change.applied(films)) < films.loss(films.logits)


def test_recalibration_never_turns_the_ranking_round() -> None:
    films = hospital(2000, slope=-1.0)
    assert fit_change(RECALIBRATE, films).slope == pytest.approx(0.0, abs=1e-6)


def test_a_few_separated_films_do_not_send_the_slope_to_infinity() -> None:
    logits = np.array([[1.0, -1.0], [-1.0, 1.0]])
    films = LocalFilms(logits, np.zeros((2, 1)), np.array([[1.0, 0.0], [0.0, 1.0]]), True)
    assert 1 < fit_change(RECALIBRATE, films).slope < 10


def test_a_new_head_uses_a_feature_that_the_model_ignored() -> None:
    films = hospital()
    truth = films.features[:, 3] > 0
    films = dataclasses.replace(films, wanted=np.c_[~truth, truth].astype(float))
    change = fit_change(HEAD, films, penalty=0.01)
    moved = change.applied(films)
    assert np.mean((moved[:, 1] > moved[:, 0]) == truth) > 0.9
    assert np.abs(change.weights[3]).max() > 3 * np.abs(change.weights[[1, 2, 4]]).max()


def test_a_large_penalty_leaves_the_head_as_it_was() -> None:
    films = hospital(slope=0.2)
    assert np.abs(fit_change(HEAD, films, penalty=1e6).weights).max() < 1e-4


@pytest.mark.parametrize("method", [AS_IS, THRESHOLD])
def test_methods_that_keep_the_scores_keep_them(method: str) -> None:
    films = hospital(50)
    np.testing.assert_array_equal(fit_change(method, films).applied(films), films.logits)


def test_unknown_findings_do_not_count() -> None:
    films = hospital(400, exclusive=False)
    holes = films.wanted.copy()
    holes[::2] = np.nan
    masked = dataclasses.replace(films, wanted=holes)
    half = films.of(np.arange(1, 400, 2))
    with_holes, without = fit_change(HEAD, masked, 1.0), fit_change(HEAD, half, 1.0)
    assert masked.loss(masked.logits) == pytest.approx(half.loss(half.logits))
    # Only the standardisation of the features sees the other films.
    np.testing.assert_allclose(with_holes.bias, without.bias, atol=0.1)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="no method 'magic'"):
        fit_change("magic", hospital(10))
