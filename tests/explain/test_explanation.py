"""Everything about one film, drawn: what is shown, what is withheld, and what is said when something is missing."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxray import bundle as bundles
from cxray.bundle import load_bundle
from cxray.errors import BundleError, UnreadableImage
from cxray.explain.attribution import class_activation
from cxray.explain.card import NAME, new_card, save_card
from cxray.explain.explanation import card_of, explain_file
from cxray.explain.neighbours import nearest
from cxray.explain.opened import OpenedModel, open_bundle
from cxray.explain.overlay import film_as_rgb, overlay, scale_of
from cxray.explain.picture import as_png, draw
from cxray.runtime.familiar import Reference
from tests.explain.graphs import disc_bundle, disc_film, disc_model
from tests.explain.test_card import part


@pytest.fixture
def film(tmp_path: Path) -> Path:
    Image.fromarray(disc_film()).save(tmp_path / "film.png")
    return tmp_path / "film.png"


def with_card(model: OpenedModel, **changes: tuple[float, float, float] | None) -> None:
    assert model.bundle is not None
    save_card(new_card(model.identifier, "test films", [part(**changes)]), model.bundle.folder / NAME)


def test_without_a_card_there_is_no_map_and_the_reason_is_said(tmp_path: Path, film: Path) -> None:
    found = explain_file(disc_model(tmp_path), film)
    assert found.attribution is None
    assert found.verdict.reason == "The maps of this model were never tested."
    assert found.no_neighbours == "This model carries no reference films to compare with."
    assert found.gate is None
    assert found.decision == "NORMAL"  # log-odds of -0.5 by hand: 60 · (0.902 - 0.5) / 49 - 1
    assert found.score == pytest.approx(1 / (1 + np.exp(0.5078)), abs=1e-3)
    assert found.to_dict()["map"] is None


def test_a_card_that_passed_shows_the_map_at_its_own_scale(tmp_path: Path, film: Path) -> None:
    model = disc_model(tmp_path)
    with_card(model)
    found = explain_file(model, film)
    assert found.attribution is not None
    assert found.attribution.method == "class_activation"
    assert found.scale == 0.4
    card = card_of(model)
    assert card is not None and card.verdict("PNEUMONIA", "class_activation").may_show
    assert card.verdict("PNEUMONIA", "occlusion").maps == "untested"
    assert found.to_dict()["map"]["unit"] == "log-odds"


def test_a_failed_card_hides_the_map_unless_it_is_asked_for(tmp_path: Path, film: Path) -> None:
    model = disc_model(tmp_path)
    with_card(model, deletion=(0.0, -1.0, 1.0))
    assert explain_file(model, film).attribution is None
    shown = explain_file(model, film, untested=True)
    assert shown.attribution is not None
    assert not shown.verdict.may_show


def test_a_card_of_another_graph_is_an_error(tmp_path: Path, film: Path) -> None:
    model = disc_model(tmp_path)
    assert model.bundle is not None
    save_card(new_card("0123456789ab", "x", [part()]), model.bundle.folder / NAME)
    with pytest.raises(BundleError, match="another graph"):
        explain_file(model, film)


def test_occlusion_is_preferred_once_it_passed(tmp_path: Path, film: Path) -> None:
    model = disc_model(tmp_path)
    assert model.bundle is not None
    parts = [part(), dataclasses.replace(part(), method="occlusion")]
    save_card(new_card(model.identifier, "x", parts), model.bundle.folder / NAME)
    found = explain_file(model, film)
    assert found.attribution is not None
    assert found.attribution.method == "occlusion"


def test_a_film_that_is_too_small_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((15, 40), np.uint8)).save(tmp_path / "tiny.png")
    with pytest.raises(UnreadableImage, match="at least 16"):
        explain_file(disc_model(tmp_path), tmp_path / "tiny.png")


def test_the_overlay_paints_evidence_and_nothing_else(model: OpenedModel) -> None:
    film = disc_film(2, 4)
    found = class_activation(model, model.run(film[np.newaxis]), 1)[0]
    painted = overlay(film, found, scale_of(found)).astype(int)
    change = np.abs(painted - film_as_rgb(film)).sum(axis=2)
    assert change[20, 36] > 30
    assert change[40:, :].max() == 0
    red, _, blue = painted[20, 36]
    assert red > blue  # warm: speaks for the class
    against = dataclasses.replace(found, values=-found.values)
    red, _, blue = overlay(film, against, scale_of(against)).astype(int)[20, 36]
    assert blue > red


def test_a_flat_map_paints_nothing_and_a_small_scale_is_safe(model: OpenedModel) -> None:
    film = np.full((56, 56), 90, np.uint8)
    found = class_activation(model, model.run(film[np.newaxis]), 1)[0]
    np.testing.assert_array_equal(overlay(film, found, scale_of(found)), film_as_rgb(film))
    assert scale_of(dataclasses.replace(found, values=np.zeros((7, 7), np.float32))) > 0


def test_a_weak_film_stays_grey_at_the_scale_of_the_card(model: OpenedModel) -> None:
    film = disc_film()
    found = class_activation(model, model.run(film[np.newaxis]), 1)[0]
    np.testing.assert_array_equal(overlay(film, found, 100.0), film_as_rgb(film))


@pytest.mark.parametrize("state", ["untested", "shown", "withheld", "flat"])
def test_the_picture_of_every_state(tmp_path: Path, film: Path, state: str) -> None:
    model = disc_model(tmp_path)
    if state != "untested":
        with_card(model, **({"deletion": (0.0, -1.0, 1.0)} if state == "withheld" else {}))
    if state == "flat":
        Image.fromarray(np.full((64, 64), 90, np.uint8)).save(film)
    with Image.open(io.BytesIO(as_png(draw(explain_file(model, film))))) as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 1500
        colours = np.asarray(picture.convert("RGB")).astype(int)
    # Right half of the row of films: coloured only where a map is drawn.
    height, width, _ = colours.shape
    map_place = colours[int(0.15 * height) : int(0.5 * height), int(0.37 * width) : int(0.65 * width)]
    is_coloured = (np.ptp(map_place, axis=2) > 40).any()
    assert is_coloured == (state == "shown")


@pytest.mark.parametrize("words", [1, 15, 60])
def test_long_cautions_stay_above_the_films_like_this_one(model: OpenedModel, film: Path, words: int) -> None:
    long = dataclasses.replace(explain_file(model, film), findings=("caution " * words, "another " * words))
    figure = draw(long)
    figure.draw_without_rendering()
    below = next(text for text in figure.texts if text.get_text().startswith("Films like this one"))
    facts = next(axes for axes in figure.axes if any(text.get_text() == "Caution" for text in axes.texts))
    lowest = min(text.get_window_extent().y0 for text in facts.texts)
    assert lowest > below.get_window_extent().y1


def reference() -> Reference:
    features = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 1]], np.float32)
    return Reference(features, np.array(["A", "A", "B", "B"]), np.array(["a1", "a2", "b1", "b2"]))


def test_nearest_films_by_hand() -> None:
    found = nearest(reference(), np.array([2.0, 0.0]), count=2)
    assert [(one.film, one.label) for one in found] == [("a1", "A"), ("a2", "A")]
    assert found[0].similarity == pytest.approx(1)
    assert found[1].similarity == pytest.approx(0.9 / np.hypot(0.9, 0.1))
    assert [one.film for one in nearest(reference(), np.array([2.0, 0.0]), count=1, leave_out="a1")] == ["a2"]


def test_neighbours_of_nothing_and_of_another_network() -> None:
    assert nearest(reference(), np.zeros(2)) == []
    with pytest.raises(BundleError, match="have 2 features, this film 3"):
        nearest(reference(), np.ones(3))


def test_films_like_this_one_come_from_the_bundle(tmp_path: Path, film: Path) -> None:
    folder = disc_bundle(tmp_path / "b")
    Reference(
        np.array([[0.2, 0.01], [0.9, 0.4]], np.float32), np.array(["NORMAL", "PNEUMONIA"]), np.array(["n.png", "p.png"])
    ).save(folder)
    bundles.save_facts(folder, {k: v for k, v in load_bundle(folder).facts.items() if k not in ("schema", "files")})
    found = explain_file(open_bundle(folder, "onnxruntime"), film)
    assert {one.film for one in found.neighbours} == {"n.png", "p.png"}
    assert found.no_neighbours == ""
    as_png(draw(found, {"n.png": disc_film()}))
