"""`cxray explain` and `cxray predict --heatmaps` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cxray.cli import cli
from cxray.errors import CxrayError
from tests.explain.graphs import disc_bundle, disc_film
from tests.explain.test_foreign import CARD, foreign_graph


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 dark films and 12 with a bright cell, one a patient, and the masks of the bright cells beside them."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(5)
    (root / "films-masks").mkdir()
    for label in ("NORMAL", "PNEUMONIA"):
        (root / "films" / label).mkdir(parents=True)
        for number in range(12):
            row, column = rng.integers(1, 6, 2)
            film = disc_film(int(row), int(column), bright=255 if label == "PNEUMONIA" else 40)
            noisy = np.clip(film + rng.normal(0, 6, film.shape), 0, 255).astype(np.uint8)
            name = f"patient-{label[0]}{number:02d}-0.png"
            Image.fromarray(noisy).save(root / "films" / label / name)
            mask = np.zeros(film.shape, np.uint8)
            mask[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = 255
            Image.fromarray(mask).save(root / "films-masks" / name)
    return root / "films"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A network whose maps are right, and strong enough that its true positives are called."""
    return disc_bundle(tmp_path / "bundle", weights=[[0.0, 0.0], [0.0, 600.0]], bias=(0.0, -3.0))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_card_is_measured_written_and_obeyed(bundle: Path, discs: Path, tmp_path: Path) -> None:
    result = run("explain", bundle, "--card", discs, "--json", "--engine", "onnxruntime")
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    measures = {one["name"]: one for one in card["classes"][0]["measures"]}
    assert measures["deletion"]["value"] > 1
    assert measures["insertion"]["passed"] is True
    assert measures["pointing_game"]["value"] == 1  # the map is right by construction
    assert measures["pointing_game"]["null"]["mean"] < 0.3
    assert measures["frame_share"]["passed"] is True
    assert (bundle / "attribution.json").is_file()
    shown = run("explain", bundle, discs / "PNEUMONIA" / "patient-P00-0.png", "--out", tmp_path / "e.png", "--json")
    verdict = json.loads(shown.stdout)["maps"]
    assert verdict["maps"] == card["classes"][0]["maps"]
    assert (tmp_path / "e.png").is_file()


def test_contrast_takes_its_reference_from_the_card(bundle: Path, discs: Path, tmp_path: Path) -> None:
    film = discs / "PNEUMONIA" / "patient-P00-0.png"
    early = run("explain", bundle, film, "--out", tmp_path / "e.png", "--method", "contrast", "--untested-maps")
    assert isinstance(early.exception, CxrayError)
    assert "this model's card has none" in str(early.exception)
    card = run("explain", bundle, "--card", discs, "--method", "contrast", "--json", "--engine", "onnxruntime")
    (part,) = json.loads(card.stdout)["classes"]
    assert (part["method"], np.shape(part["reference"])) == ("contrast", (7, 7))
    assert {one["name"]: one for one in part["measures"]}["pointing_game"]["value"] == 1
    shown = run("explain", bundle, film, "--out", tmp_path / "e.png", "--json")  # the kind that passed is drawn
    found = json.loads(shown.stdout)
    assert (found["map"] or {}).get("method") == ("contrast" if part["maps"] == "shown" else None)


def test_too_few_films_leave_the_maps_untested(bundle: Path, discs: Path, tmp_path: Path) -> None:
    result = run("explain", bundle, "--card", discs, "--films", 5, "--out", tmp_path / "card.json")
    assert result.exit_code == 0, result.output
    assert "could not be tested: only 5 films with a value; 10 are needed" in result.stdout
    assert json.loads((tmp_path / "card.json").read_text())["classes"][0]["maps"] == "untested"


def test_bundles_of_other_seeds_are_compared(bundle: Path, discs: Path, tmp_path: Path) -> None:
    twin = disc_bundle(tmp_path / "twin", weights=[[0.0, 0.0], [1.0, 500.0]], bias=(0.0, -2.0))
    result = run("explain", bundle, "--card", discs, "--other", twin, "--json")
    measures = {one["name"]: one for one in json.loads(result.stdout)["classes"][0]["measures"]}
    assert measures["across_models"]["value"] > 0.5
    assert measures["across_models"]["decides"] is False


def test_a_person_reads_what_matters(bundle: Path, discs: Path, tmp_path: Path) -> None:
    film = discs / "PNEUMONIA" / "patient-P00-0.png"
    result = run("explain", bundle, film, "--out", tmp_path / "e.png")
    assert result.exit_code == 0, result.output
    assert "decision PNEUMONIA" in result.stdout
    assert "Gate: none in this model." in result.stdout
    assert "Map: The maps of this model were never tested." in result.stdout
    assert f"Picture: {tmp_path / 'e.png'}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Either an IMAGE"),
        (("FILM",), "--out is needed"),
        (("FILM", "--card", "DATA"), "Either an IMAGE"),
        (("FILM", "--out", "e.jpg"), "must be a file that ends in .png"),
        (("FILM", "--out", "e.png", "--class", "FLU"), "no class 'FLU'"),
        (("--card", "DATA", "--class", "FLU"), "no class 'FLU'"),
        (("FILM", "--out", "e.png", "--input", "card.toml"), "--input is for ONNX files"),
        (("--card", "nowhere"), "nothing at"),
    ],
)
def test_what_cannot_be_meant(
    bundle: Path, discs: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    film = discs / "PNEUMONIA" / "patient-P00-0.png"
    names = {"FILM": film, "DATA": discs, "e.png": tmp_path / "e.png", "nowhere": tmp_path / "nowhere"}
    result = run("explain", bundle, *(names.get(word, word) for word in arguments))
    assert isinstance(result.exception, CxrayError)
    assert words in str(result.exception)
    assert not (tmp_path / "e.png").exists()


def test_films_without_known_labels_make_no_card(bundle: Path, discs: Path, tmp_path: Path) -> None:
    Image.open(next(discs.rglob("*.png"))).save(tmp_path / "film.png")
    result = run("explain", bundle, "--card", tmp_path / "film.png")
    assert "holds no films labelled NORMAL or PNEUMONIA" in str(result.exception)


def test_a_missing_mask_is_told(bundle: Path, discs: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    result = run("explain", bundle, "--card", discs, "--masks", tmp_path / "masks")
    assert "There is no readable mask" in str(result.exception)


def test_a_network_from_elsewhere(discs: Path, tmp_path: Path) -> None:
    graph = foreign_graph(tmp_path / "m.onnx")
    film = discs / "PNEUMONIA" / "patient-P00-0.png"
    assert "--input CARD.toml" in str(run("explain", graph, film, "--out", tmp_path / "e.png").exception)
    (tmp_path / "card.toml").write_text(CARD)
    words = ("explain", graph, film, "--input", tmp_path / "card.toml", "--out", tmp_path / "e.png")
    result = run(*words, "--untested-maps", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["map"]["method"] == "occlusion"
    assert found["no_neighbours"] == "This model carries no reference films to compare with."
    refused = run(*words, "--untested-maps", "--method", "class_activation")
    assert "no class activation: a network from elsewhere" in str(refused.exception)


def test_heat_maps_obey_the_card(bundle: Path, discs: Path, tmp_path: Path) -> None:
    words = ("predict", bundle, discs, "--out", tmp_path / "p.csv", "--heatmaps", tmp_path / "maps")
    refused = run(*words)
    assert "Maps are not shown. The maps of this model were never tested." in str(refused.exception)
    assert not (tmp_path / "p.csv").exists()  # nothing was scored for nothing
    (discs / "PNEUMONIA" / "broken.png").write_bytes(b"no film")
    try:
        result = run(*words, "--untested-maps", "--json")
    finally:
        (discs / "PNEUMONIA" / "broken.png").unlink()
    assert len(list((tmp_path / "maps").glob("*.png"))) == 24, result.output
    assert (tmp_path / "maps" / "manifest.json").is_file()
