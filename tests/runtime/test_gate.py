"""The input gate: what is like the training films, what is not, and when a whole batch comes from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from cxray.bundle import Bundle, load_bundle
from cxray.errors import BundleError
from cxray.records import Predictions
from cxray.runtime import gate
from cxray.runtime.gate import INSIDE, NOT_RADIOGRAPH, OUTSIDE, Gate

RNG = np.random.default_rng(5)
DIRECTIONS = np.linalg.qr(RNG.normal(size=(64, 6)))[0].T
GREY = RNG.integers(0, 255, size=(400, 8, 8)).astype(np.uint8)


def world(count: int, *, strangeness: float = 0.0) -> np.ndarray:
    """Features in a six-dimensional part of 64 dimensions, plus noise and as much that is strange."""
    usual = 4 + RNG.normal(size=(count, 6)) @ DIRECTIONS
    return usual + 0.05 * RNG.normal(size=usual.shape) + strangeness * RNG.normal(size=usual.shape)


@pytest.fixture(scope="module")
def learnt() -> Gate:
    return gate.fit(world(400), world(400), world(60, strangeness=3.0))


def answers(learnt: Gate, features: np.ndarray) -> list[str]:
    return [verdict.answer for verdict in learnt.judge(features, GREY[: len(features)])]


def test_the_promised_share_of_usual_films_is_flagged(learnt: Gate) -> None:
    flagged = np.mean([answer != INSIDE for answer in answers(learnt, world(400))])
    assert 0.01 < flagged < 0.10


def test_strange_films_are_outside_and_pictures_far_away_are_no_radiographs(learnt: Gate) -> None:
    assert set(answers(learnt, world(100, strangeness=0.3))) == {OUTSIDE}
    assert set(answers(learnt, world(100, strangeness=5.0))) == {NOT_RADIOGRAPH}


def test_the_limit_itself_is_inside(learnt: Gate) -> None:
    assert learnt._verdict(1.0, 0.2).answer == INSIDE
    assert learnt._verdict(np.nextafter(1.0, 2), 0.2).answer == OUTSIDE
    assert learnt._verdict(learnt.far, 0.2).answer == NOT_RADIOGRAPH


def test_features_that_hold_drawn_pictures_usual_call_no_picture_far(tmp_path: Path) -> None:
    blind = gate.fit(world(400), world(400), world(60))
    assert blind.far == np.inf
    assert set(answers(blind, world(100, strangeness=5.0))) == {OUTSIDE}
    assert blind.limited(blind.residual(world(100))).far == np.inf
    facts = blind.save(tmp_path)
    assert facts["far"] is None
    again = Gate.of(bundle_with(tmp_path, {"gate": facts}))
    assert again is not None and again.far == np.inf
    assert blind.judge(world(1), np.full((1, 8, 8), 127, dtype=np.uint8))[0].answer == NOT_RADIOGRAPH


def test_a_blank_film_is_no_radiograph_whatever_its_features(learnt: Gate) -> None:
    verdict = learnt.judge(world(1), np.full((1, 8, 8), 127, dtype=np.uint8))[0]
    assert verdict.answer == NOT_RADIOGRAPH
    assert "blank" in verdict.reason


def test_features_that_are_no_numbers_are_never_inside(learnt: Gate) -> None:
    assert answers(learnt, np.full((1, 64), np.nan)) == [NOT_RADIOGRAPH]


def test_length_of_the_features_does_not_matter(learnt: Gate) -> None:
    films = world(50)
    np.testing.assert_allclose(learnt.distance(films), learnt.distance(7 * films))


def test_the_limit_is_the_conformal_rank() -> None:
    calibration = world(19)
    learnt = gate.fit(world(100), calibration, world(60, strangeness=3.0))
    # ceil(20 x 0.95) = 19: with 19 films only the largest keeps the promise.
    assert learnt.distance(calibration).max() == pytest.approx(1.0)


def test_a_gate_survives_saving(learnt: Gate, tmp_path: Path) -> None:
    facts = {"gate": learnt.save(tmp_path)}
    again = Gate.of(bundle_with(tmp_path, facts))
    assert again is not None
    np.testing.assert_allclose(again.distance(world(20)).shape, (20,))
    films = world(20)
    np.testing.assert_allclose(again.distance(films), learnt.distance(films), rtol=1e-4)


def bundle_with(folder: Path, facts: dict[str, object]) -> Bundle:
    from cxray.config import InputCard

    return Bundle(folder, "classes", ("A", "B"), "B", InputCard(), thresholds={}, facts=facts)


def test_a_bundle_without_gate_has_none_and_a_damaged_one_says_so(learnt: Gate, tmp_path: Path) -> None:
    assert Gate.of(bundle_with(tmp_path, {"gate": None})) is None
    facts = {"gate": learnt.save(tmp_path)}
    (tmp_path / "gate.npz").write_bytes(b"not an archive")
    with pytest.raises(BundleError, match="input gate of .* is damaged"):
        Gate.of(bundle_with(tmp_path, facts))


def test_drift_needs_enough_films_and_more_than_chance(learnt: Gate) -> None:
    assert gate.drift(learnt, {OUTSIDE: 19}) is None
    quiet = gate.drift(learnt, {INSIDE: 95, OUTSIDE: 5})
    loud = gate.drift(learnt, {INSIDE: 50, OUTSIDE: 50})
    assert quiet is not None and not quiet.alarm and quiet.sentence() == ""
    assert loud is not None and loud.alarm
    assert "50 of 100 films are unlike the training films" in loud.sentence()


def test_drift_counts_only_films_that_were_judged(learnt: Gate) -> None:
    result = gate.drift(learnt, {"": 50, INSIDE: 20})
    assert result is not None
    assert (result.n, result.flagged, result.low) == (20, 0, 0.0)


def test_drift_low_end_is_clopper_pearson(learnt: Gate) -> None:
    result = gate.drift(learnt, {OUTSIDE: 10, INSIDE: 90})
    assert result is not None
    # By definition: were the true share as low as this, 10 or more of 100 would be seen once in twenty times.
    assert stats.binom.sf(9, 100, result.low) == pytest.approx(0.05)


def test_drawn_pictures_are_repeatable_and_not_blank() -> None:
    pictures = gate.drawn_pictures(32, 48)
    assert pictures.shape == (60, 32, 48)
    np.testing.assert_array_equal(pictures, gate.drawn_pictures(32, 48))
    assert pictures.std(axis=(1, 2)).min() > 0.01 * 255


def test_a_trained_bundle_carries_a_gate_and_features_of_validation_films(gated_run: Path) -> None:
    loaded = load_bundle(gated_run / "bundle")
    learnt = Gate.of(loaded)
    assert learnt is not None
    assert {"gate.npz", "reference.npz"} <= set(loaded.facts["files"])
    with np.load(loaded.folder / "reference.npz", allow_pickle=False) as reference:
        assert len(reference["features"]) == len(reference["label"]) == learnt.n_calibration
        flagged = (learnt.distance(reference["features"]) > 1).mean()
    assert flagged <= 0.05


def test_too_few_validation_films_give_no_gate_but_their_features(tiny_run: Path) -> None:
    loaded = load_bundle(tiny_run)
    assert Gate.of(loaded) is None
    assert "reference.npz" in loaded.facts["files"]


def test_predictions_carry_the_verdict(gated_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    from cxray.workflow.predict import predict

    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    scored = predict(gated_run, [tmp_path / "noise.png", phantom_films / "test"], tmp_path / "out.csv")
    gates = Predictions.read(scored.path).gate
    assert gates[0] in (OUTSIDE, NOT_RADIOGRAPH)
    assert np.mean(gates[1:] == INSIDE) > 0.5
