"""Maps beside the mistakes of a report: only where the bundle's card allows them, only of films that can be read."""

import io

import numpy as np
import pytest
from PIL import Image

from cxray.evaluate import evaluate
from cxray.explain.attribution import CLASS_ACTIVATION
from cxray.explain.card import Card, ClassCard, save_card
from cxray.explain.measures import Measure
from cxray.report.page import write_evaluation_report
from cxray.workflow.grounds import Grounds, film_paths, grounded
from cxray.workflow.maps import film_maps
from cxray.workflow.thumbnails import thumbnails
from tests.explain.graphs import disc_model
from tests.report.predictions import two_classes
from tests.report.reading import Page


@pytest.fixture
def bundle(tmp_path):
    """A model that can be worked out by hand, with a card that says whether its maps passed."""
    model = disc_model(tmp_path / "disc")

    def with_card(passed):
        test = Measure("deletion", "Deletion", 0.1, 0.05, 0.2, None, "below chance", passed, True, 40, "mean")
        card = Card(
            model.identifier, "40 films", "2026-01-01", (ClassCard("PNEUMONIA", CLASS_ACTIVATION, (test,), 0.0),)
        )
        save_card(card, model.bundle.folder / "attribution.json")
        return model.bundle.folder

    return with_card


@pytest.fixture
def films(tmp_path):
    """Two films that can be read and one that cannot, under names that the table gives."""
    table = two_classes()
    judged = evaluate(table)
    wanted = list(film_paths_of(judged))
    for number, name in enumerate(wanted[:3]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((80, 80), 40, dtype=np.uint8)
        pixels[20:40, 20:40] = 230
        Image.fromarray(pixels).save(tmp_path / name)
        if number == 2:
            (tmp_path / name).write_bytes(b"no film")
    return table, judged, film_paths(judged, tmp_path)


def film_paths_of(judged):
    return dict.fromkeys(judged.tables["errors"]["path"].tolist())


def test_maps_that_passed_stand_beside_their_films(bundle, films, tmp_path):
    table, judged, paths = films
    folder = bundle(True)
    judged = grounded(judged, table, Grounds(bundle=folder))
    maps = film_maps(judged, folder, paths, side=96)
    assert len(maps) == 2
    picture = np.asarray(Image.open(io.BytesIO(next(iter(maps.values())))))
    assert picture.shape == (96, 96, 3)
    assert np.ptp(picture.astype(int), axis=2).max() > 20  # coloured where the score comes from
    judged.save(tmp_path / "out")
    written = write_evaluation_report(judged, tmp_path / "out", films=thumbnails(paths), maps=maps)
    alternatives = [element.attributes["alt"] for element in Page(written).all("img")]
    assert sum(text.startswith("Where the score of film") for text in alternatives) == 2


def test_maps_that_failed_are_not_made(bundle, films):
    table, judged, paths = films
    folder = bundle(False)
    judged = grounded(judged, table, Grounds(bundle=folder))
    assert film_maps(judged, folder, paths, side=96) == {}


def test_without_a_bundle_or_a_card_there_are_no_maps(films):
    _, judged, paths = films
    assert film_maps(judged, None, paths, side=96) == {}
