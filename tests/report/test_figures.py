"""Figures: drawn from columns alone, no global state, the same bytes twice, hostile names shown literally."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cxray.errors import OutputError, UsageError
from cxray.evaluate import evaluate
from cxray.report import figures
from cxray.report.embed import inline_svg
from cxray.report.text import clip, printable
from tests.report.predictions import DOLLARS, HOSTILE, two_classes

HISTORY = {
    "epoch": np.arange(1, 7),
    "stage": np.array(["frozen", "frozen", "all", "all", "all", "all"], dtype=object),
    "train_loss": np.array([0.7, 0.5, 0.4, 0.3, 0.2, 0.1]),
    "validation_loss": np.array([0.7, 0.6, 0.5, 0.4, 0.4, 0.5]),
    "train_accuracy": np.array([0.6, 0.7, 0.8, 0.9, 0.95, 0.99]),
    "validation_accuracy": np.array([0.6, 0.7, 0.75, 0.8, 0.8, 0.79]),
}


@pytest.fixture(scope="module")
def tables():
    return evaluate(two_classes()).tables


def _texts(figure):
    root = ElementTree.fromstring(figures.figure_svg(figure))
    return ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]


def _drawn(tables, name):
    grey = [np.full((20, 30), 90, dtype=np.uint8)] * 3
    return {
        "roc": lambda: figures.roc_curve(tables["roc"], tables["roc_band"], operating_point=(0.9, 0.8)),
        "precision_recall": lambda: figures.precision_recall(tables["precision_recall"], prevalence=0.6),
        "histogram": lambda: figures.score_histogram(
            tables["score_histogram"], positive="ILL", negative="WELL", threshold=0.4
        ),
        "confusion": lambda: figures.confusion_matrix([[9, 1], [2, 8]], truth=["a", "b"], answers=["a", "b"]),
        "calibration": lambda: figures.calibration_curve(
            tables["calibration"], tables["calibration_band"], tables["calibration_smooth"]
        ),
        "decision": lambda: figures.decision_curve(tables["decision_curve"], threshold=0.4),
        "training": lambda: figures.training_curves(HISTORY, best_epoch=4),
        "sheet": lambda: figures.contact_sheet(grey, ["a", "b", "c"]),
        "intervals": lambda: figures.interval_plot(
            ["a", "b"], np.array([0.8, np.nan]), np.array([[0.7, 0.9], [np.nan, np.nan]]), quantity="AUROC"
        ),
    }[name]()


ALL = (
    "roc", "precision_recall", "histogram", "confusion", "calibration", "decision", "training", "sheet", "intervals",
)  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_every_figure_saves_as_svg_and_png_and_repeats_itself(tables, name, tmp_path):
    for suffix in (".svg", ".png"):
        paths = [tmp_path / f"{name}-{number}{suffix}" for number in range(2)]
        for path in paths:
            figures.save_figure(_drawn(tables, name), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert 500 < paths[0].stat().st_size < 200_000
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".png", ".png", ".svg", ".svg"]


@pytest.mark.parametrize("name", ALL)
def test_text_stays_text_and_nothing_is_fetched(tables, name):
    figure = _drawn(tables, name)
    assert _texts(figure)
    inline = inline_svg(figures.figure_svg(figure), name="here", title="A figure")
    assert "http" not in inline


def test_counts_stand_in_their_cells():
    texts = _texts(figures.confusion_matrix([[369, 8], [1038, 209]], truth=["A", "B"], answers=["A", "B"]))
    assert {"369", "8", "1,038", "209"} <= set(texts)


def test_forty_classes_keep_their_names_and_lose_their_counts():
    names = [f"class {number}" for number in range(40)]
    texts = _texts(figures.confusion_matrix(np.full((40, 40), 7), truth=names, answers=names))
    assert texts.count("class 39") == 2
    assert "7" not in texts


def test_an_empty_row_is_drawn_without_a_share():
    assert "0" in _texts(figures.confusion_matrix([[0, 0], [1, 1]], truth=["A", "B"], answers=["A", "B"]))


@pytest.mark.parametrize("name", [HOSTILE, DOLLARS, "$", "a_b^{c}", "病理学", ""])
def test_names_are_shown_literally(tables, name):
    figure = figures.score_histogram(tables["score_histogram"], positive=name, negative="rest")
    assert clip(printable(name), 28) in [*_texts(figure), ""]
    svg = inline_svg(figures.figure_svg(figure), name="f", title=name)
    assert "<script" not in svg


def test_training_curves_say_which_epochs_were_frozen_and_which_was_best():
    texts = _texts(figures.training_curves(HISTORY, best_epoch=4))
    assert texts.count("frozen") == 2
    assert "best: epoch 4" in texts
    assert {"training", "validation", "Loss", "Accuracy"} <= set(texts)


def test_one_epoch_without_accuracy_can_be_drawn(tmp_path):
    history = {name: column[:1] for name, column in HISTORY.items()} | {
        "train_accuracy": np.array([np.nan]),
        "validation_accuracy": np.array([np.nan]),
    }
    figures.save_figure(figures.training_curves(history), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_figure_has_only_two_endings(tables, tmp_path):
    with pytest.raises(UsageError, match=r"\.svg or \.png, got figure\.gif"):
        figures.save_figure(_drawn(tables, "roc"), tmp_path / "figure.gif")


def test_a_figure_that_cannot_be_written_leaves_nothing(tables, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        figures.save_figure(_drawn(tables, "roc"), tmp_path / "file" / "roc.svg")


def test_a_sheet_needs_a_caption_for_each_film():
    film = np.zeros((4, 4), dtype=np.uint8)
    with pytest.raises(UsageError, match="got 2 films, 1 captions"):
        figures.contact_sheet([film, film], ["only one"])
    with pytest.raises(UsageError, match="got 0 films"):
        figures.contact_sheet([], [])


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never():
    code = (
        "import sys; import cxray.report.page, cxray.report.run_page, cxray.report.figures as f\n"
        "assert 'matplotlib' not in sys.modules, 'matplotlib came with the import'\n"
        "f.figure_svg(f.interval_plot(['a'], __import__('numpy').array([.5]), __import__('numpy').array([[.4, .6]]), "
        "quantity='q'))\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_inlined_figures_keep_apart_and_follow_the_page(tables):
    svg = figures.figure_svg(_drawn(tables, "histogram"))
    first, second = (ElementTree.fromstring(inline_svg(svg, name=name, title='A "title"')) for name in ("one", "two"))
    ids = [{element.get("id") for element in root.iter() if element.get("id")} for root in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    text = ElementTree.tostring(first, encoding="unicode")
    assert "var(--positive)" in text
    assert "font-family" not in text
    assert not [element for element in first.iter() if element.tag in ("style", "metadata")]
    used = {part.split(")")[0] for part in text.split("url(#")[1:]} | {
        element.get("href", "")[1:] for element in first.iter("use")
    }
    assert used <= ids[0]
    assert first.get("role") == "img"
    assert first.get("aria-label") == 'A "title"'
