"""Streaming prediction: order, memory, unreadable films, and what a bundle refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cxray.bundle import load_bundle
from cxray.data.prepare import prepare_file
from cxray.errors import BundleError
from cxray.records import ImageRecord
from cxray.runtime.engine import BATCH, AnswerTable, usable_cores
from cxray.runtime.predict import WINDOW_BATCHES, Predictor
from tests.conftest import draw


@pytest.fixture
def predictor(tiny_run: Path) -> Predictor:
    return Predictor.open(tiny_run / "bundle", "onnxruntime")


def test_order_is_kept_and_scores_are_those_of_each_film_alone(predictor: Predictor, tmp_path: Path) -> None:
    records = [ImageRecord(draw(tmp_path / f"{n}.png", seed=n, side=70)) for n in range(2 * BATCH + 3)]
    table = predictor.predict(records)
    assert table.path.tolist() == [str(record.path) for record in records]
    for row in (0, BATCH, 2 * BATCH + 2):
        alone = predictor.scores(prepare_file(records[row].path, predictor.bundle.card)[None])[0]
        np.testing.assert_allclose(table.scores[row], alone, atol=1e-5)
    np.testing.assert_allclose(table.scores.sum(axis=1), 1, atol=1e-12)


def test_an_unreadable_film_has_its_row_and_spoils_nothing(predictor: Predictor, tmp_path: Path) -> None:
    good = ImageRecord(draw(tmp_path / "good.png", seed=1), label="NORMAL", metadata={"site": "x"})
    (tmp_path / "empty.png").write_bytes(b"")
    bad = ImageRecord(tmp_path / "empty.png", label="NORMAL")
    table = predictor.predict([bad, good, bad])
    assert [bool(error) for error in table.error] == [True, False, True]
    assert np.isnan(table.scores[0]).all() and not np.isnan(table.scores[1]).any()
    assert (table.predicted[0], table.decision[0]) == ("", "")
    assert table.decision[1] in predictor.bundle.classes
    assert table.metadata["site"].tolist() == ["", "x", ""]
    assert set(table.metadata["model"]) == {predictor.bundle.identifier}


def test_only_unreadable_films(predictor: Predictor, tmp_path: Path) -> None:
    table = predictor.predict([ImageRecord(tmp_path / "gone.png")])
    assert "cannot be read" in table.error[0]


def test_the_decision_follows_the_frozen_threshold(predictor: Predictor, tmp_path: Path) -> None:
    records = [ImageRecord(draw(tmp_path / f"{n}.png", seed=n)) for n in range(20)]
    table = predictor.predict(records)
    threshold = predictor.bundle.thresholds[predictor.bundle.positive].value
    expected = np.where(table.scores[:, 1] >= threshold, "PNEUMONIA", "NORMAL")
    assert table.decision.tolist() == expected.tolist()
    assert set(table.metadata["threshold"]) == {threshold}


def test_decoding_never_runs_more_than_a_window_ahead(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = draw(tmp_path / "film.png", seed=0)
    handed_out, lock = 0, threading.Lock()

    def records() -> Iterator[ImageRecord]:
        nonlocal handed_out
        for _ in range(400):
            with lock:
                handed_out += 1
            yield ImageRecord(film)

    furthest = 0
    for received, _ in enumerate(predictor.stream(records()), start=1):
        furthest = max(furthest, handed_out - received)
    assert received == 400
    assert furthest <= (WINDOW_BATCHES * usable_cores() + 1) * BATCH


def test_leaving_early_stops_the_pool(predictor: Predictor, tmp_path: Path) -> None:
    film = draw(tmp_path / "film.png", seed=0)
    stream = predictor.stream(ImageRecord(film) for _ in range(10_000))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
    assert len(names) <= 4


def test_an_engine_that_answers_differently_is_refused(tiny_run: Path) -> None:
    bundle = load_bundle(tiny_run / "bundle")
    right = np.log(bundle.golden_scores)[None]
    assert Predictor(bundle, AnswerTable(logits=right)).engine.name == "answers"
    for wrong in (right + np.array([[0.01, 0]]), np.full((1, 2), np.nan)):
        with pytest.raises(BundleError, match="golden film of .* gets scores that are off by"):
            Predictor(bundle, AnswerTable(logits=wrong))


def test_features_are_kept_only_when_asked_for(predictor: Predictor, tmp_path: Path) -> None:
    record = ImageRecord(draw(tmp_path / "film.png", seed=0))
    assert next(predictor.stream([record])).features is None
    kept = next(predictor.stream([record], keep_features=True)).features
    assert kept is not None and kept.shape == (128,)


def test_file_names_that_are_not_utf8_reach_the_table(predictor: Predictor, tmp_path: Path) -> None:
    odd = Path(str(draw(tmp_path / "film.png", seed=0).rename(tmp_path / "f\udce4.png")))
    table = predictor.predict([ImageRecord(odd)])
    assert table.error[0] == ""
    table.write(tmp_path / "out.csv")
    assert "f\\udce4.png" in (tmp_path / "out.csv").read_text("utf-8")
