"""Maps against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxray.errors import DataError, UsageError
from cxray.explain.attribution import (
    CLASS_ACTIVATION,
    CONTRAST,
    OCCLUSION,
    chosen_class,
    class_activation,
    contrast,
    explain_films,
    method_of,
    occlusion,
    reference_map,
)
from cxray.explain.grid import upsample
from cxray.explain.opened import OpenedModel, log_odds
from tests.explain.graphs import BRIGHT_GAIN, disc_film, disc_model


def activation(model: OpenedModel, film: np.ndarray, index: int = 1) -> Any:
    return class_activation(model, model.run(film[np.newaxis]), index)[0]


def test_cells_add_up_to_the_score_and_only_the_disc_speaks(model: OpenedModel) -> None:
    found = activation(model, disc_film(2, 4))
    expected = np.zeros((7, 7))
    expected[2, 4] = BRIGHT_GAIN * (230 / 255 - 0.5) / 49
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.bias == pytest.approx(-1)
    assert found.values.sum() + found.bias == pytest.approx(found.log_odds, abs=1e-5)
    assert found.score == pytest.approx(1 / (1 + np.exp(-found.log_odds)))
    assert (found.method, found.class_name, found.is_flat) == (CLASS_ACTIVATION, "PNEUMONIA", False)
    row, column = found.peak(56, 56)
    assert (row // 8, column // 8) == (2, 4)


def test_contrast_takes_away_what_other_films_show_too(model: OpenedModel) -> None:
    film, healthy = np.maximum(disc_film(2, 4), disc_film(5, 1)), disc_film(5, 1)
    reference = reference_map(model, healthy[np.newaxis], 1)
    found = explain_films(model, film[np.newaxis], 1, method=CONTRAST, reference=reference)[0]
    expected = np.zeros((7, 7))
    expected[2, 4] = BRIGHT_GAIN * (230 / 255 - 0.5) / 49
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.method == CONTRAST
    assert found.bias == pytest.approx(activation(model, healthy).log_odds, abs=1e-5)
    assert found.values.sum() + found.bias == pytest.approx(found.log_odds, abs=1e-5)


def test_contrast_needs_films_without_the_class_and_of_one_size(model: OpenedModel) -> None:
    with pytest.raises(UsageError, match="Contrast needs films without the class, but there is none"):
        reference_map(model, np.zeros((0, 56, 56), np.uint8), 1)
    with pytest.raises(ValueError, match=r"A reference of \(3, 3\) cells does not fit a map of \(7, 7\)"):
        contrast(activation(model, disc_film()), np.zeros((3, 3)))


def test_the_map_of_the_other_class_is_the_negative(model: OpenedModel) -> None:
    film = disc_film()
    np.testing.assert_allclose(activation(model, film, 0).values, -activation(model, film, 1).values, atol=1e-7)


def test_a_film_without_evidence_has_a_flat_map(model: OpenedModel) -> None:
    assert activation(model, np.full((56, 56), 90, np.uint8)).is_flat


def test_three_classes_show_the_gradient_of_the_log_odds(tmp_path: Path) -> None:
    weights, bias = [[1.0, 2.0, -3.0], [5.0, -4.0, 20.0]], [0.3, 0.0, -0.5]
    model = disc_model(tmp_path, classes=("A", "B", "C"), weights=weights, bias=bias)
    film = disc_film()
    outputs = model.run(film[np.newaxis])
    found = class_activation(model, outputs, 2)[0]
    pooled, step = outputs["features"][0].astype(float), 1e-5
    gradient = [
        (odds(model, pooled + step * axis) - odds(model, pooled - step * axis)) / (2 * step) for axis in np.eye(2)
    ]
    np.testing.assert_allclose(found.values, outputs["feature_map"][0] @ np.array(gradient) / 49, rtol=1e-4, atol=1e-7)
    assert np.isnan(found.bias)


def odds(model: OpenedModel, features: np.ndarray) -> float:
    assert model.head is not None
    return float(log_odds(model.head.logits(features[np.newaxis]), "classes", 2)[0])


def test_findings_are_explained_each_for_itself(model: OpenedModel) -> None:
    findings = dataclasses.replace(model, task="findings")
    found = activation(findings, disc_film(), 1)
    assert found.values.sum() + found.bias == pytest.approx(found.log_odds, abs=1e-5)
    assert activation(findings, disc_film(), 0).is_flat  # the weights of the first finding are 0


def test_without_a_linear_head_class_activation_is_refused_and_occlusion_taken(tmp_path: Path) -> None:
    model = disc_model(tmp_path, tail="relu", bias=(0.0, 1.0))
    film = disc_film()
    with pytest.raises(UsageError, match="no class activation: What lies between its features and its logits is not"):
        class_activation(model, model.run(film[np.newaxis]), 1)
    assert method_of(model) == OCCLUSION
    assert explain_films(model, film[np.newaxis], 1)[0].method == OCCLUSION


def test_answers_that_are_not_finite_make_no_map(model: OpenedModel) -> None:
    outputs = model.run(disc_film()[np.newaxis])
    outputs["feature_map"] = np.full_like(outputs["feature_map"], np.nan)
    with pytest.raises(DataError, match="not finite"):
        class_activation(model, outputs, 1)


def test_occlusion_finds_the_disc(model: OpenedModel) -> None:
    found = occlusion(model, disc_film(3, 3), 1, places=7)
    assert found.values.shape == (56, 56)
    row, column = np.unravel_index(int(np.argmax(found.values)), found.values.shape)
    assert (row // 8, column // 8) == (3, 3)
    assert np.abs(found.values[:14]).max() < 1e-3  # far away nothing changes
    assert np.isnan(found.bias)


@pytest.mark.parametrize("places", [1, 29])
def test_occlusion_needs_a_sensible_grid(model: OpenedModel, places: int) -> None:
    with pytest.raises(UsageError, match="2 to 28 places a side"):
        occlusion(model, disc_film(), 1, places=places)


@pytest.mark.parametrize("place", [(0, 0), (6, 6), (2, 5)])
def test_the_second_look_finds_the_disc_within_a_patch(model: OpenedModel, place: tuple[int, int]) -> None:
    found = occlusion(model, disc_film(*place), 1, places=3)
    row, column = found.peak(56, 56)
    assert abs(row - (8 * place[0] + 3.5)) < 4.5 and abs(column - (8 * place[1] + 3.5)) < 4.5


def test_occlusion_of_a_flat_film_is_flat(model: OpenedModel) -> None:
    assert occlusion(model, np.full((56, 56), 90, np.uint8), 1).is_flat


def test_upsampling_keeps_place_and_range() -> None:
    values = np.zeros((7, 7), np.float32)
    values[0, 6] = 3
    large = upsample(values, 70, 140)
    assert large.shape == (70, 140)
    row, column = np.unravel_index(int(np.argmax(large)), large.shape)
    assert row < 10
    assert column >= 120
    assert large.max() == pytest.approx(3)


def test_the_class_that_is_explained(model: OpenedModel) -> None:
    assert chosen_class(model, np.array([0.9, 0.1])) == 1  # the positive class, however unlikely
    assert chosen_class(model, np.array([0.9, 0.1]), "NORMAL") == 0
    with pytest.raises(UsageError, match="no class 'FRACTURE'"):
        chosen_class(model, np.array([0.9, 0.1]), "FRACTURE")
    three = dataclasses.replace(model, classes=("A", "B", "C"))
    assert chosen_class(three, np.array([0.2, 0.5, 0.3])) == 1
    findings = dataclasses.replace(model, task="findings")
    assert chosen_class(findings, np.array([0.7, 0.6])) == 0
