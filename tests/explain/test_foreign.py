"""Networks from elsewhere: fed and read as their card says, and refused with a reason when the card is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cxray.errors import BundleError, ConfigError
from cxray.explain.attribution import occlusion
from cxray.explain.foreign import ForeignCard, open_foreign, read_foreign_card
from cxray.explain.occlude import CELLS_PER_PATCH
from tests.explain.graphs import disc_film

CARD = """
classes = ["NORMAL", "PNEUMONIA"]
height = 56
width = 56
mean = [0.5, 0.5, 0.5]
deviation = [0.25, 0.25, 0.25]
"""


def foreign_graph(path: Path, outputs: int = 1, *, sigmoid: bool = False) -> Path:
    """(1, 3, 56, 56) to the brightest 8 × 8 mean of channel 0, times 2, in every output."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("ReduceMax", ["cells"], ["peak"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["peak", "column"], ["one"]),
        helper.make_node("MatMul", ["one", "gain"], ["raw"]),
        helper.make_node("Sigmoid" if sigmoid else "Identity", ["raw"], ["answer"]),
    ]
    constants = {"column": np.array([-1, 1]), "gain": 2 * np.ones((1, outputs), np.float32)}
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 56, 56])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, outputs])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def card(**changes: Any) -> ForeignCard:
    settings: dict[str, Any] = {
        "classes": ("NORMAL", "PNEUMONIA"), "height": 56, "width": 56, "mean": (0.5,) * 3, "deviation": (0.25,) * 3,
    }  # fmt: skip
    return ForeignCard(**{**settings, **changes})


def test_a_film_arrives_as_the_card_says(tmp_path: Path) -> None:
    model = open_foreign(foreign_graph(tmp_path / "m.onnx"), card())
    expected = 2 * (230 / 255 - 0.5) / 0.25
    np.testing.assert_allclose(model.logits(disc_film()[np.newaxis]), [[0, expected]], rtol=1e-5)
    assert model.head is None
    assert model.identifier != ""


def test_probabilities_become_logits_again(tmp_path: Path) -> None:
    graph = foreign_graph(tmp_path / "m.onnx", sigmoid=True)
    model = open_foreign(graph, card(output="probabilities"))
    logits = model.logits(disc_film()[np.newaxis])
    np.testing.assert_allclose(logits, [[0, 2 * (230 / 255 - 0.5) / 0.25]], rtol=1e-3)
    probability = model.probabilities(logits)[0, 1]
    assert probability == pytest.approx(1 / (1 + np.exp(-logits[0, 1])))


def test_findings_of_several_outputs(tmp_path: Path) -> None:
    graph = foreign_graph(tmp_path / "m.onnx", outputs=3)
    model = open_foreign(graph, card(classes=("A", "B", "C"), task="findings"))
    assert model.logits(disc_film()[np.newaxis]).shape == (1, 3)


def test_occlusion_needs_nothing_else(tmp_path: Path) -> None:
    model = open_foreign(foreign_graph(tmp_path / "m.onnx"), card())
    found = occlusion(model, disc_film(5, 1), 1, places=7)
    row, column = np.unravel_index(int(np.argmax(found.values)), found.values.shape)
    assert (row // CELLS_PER_PATCH, column // CELLS_PER_PATCH) == (5, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ("A", "B", "C")}, "answers with 1 values, the card names 3 classes"),
        ({"layout": "NHWC"}, "does not take films as its card says: .*Expected"),
        ({"channels": 1, "mean": (), "deviation": ()}, "does not take films as its card says"),
        ({"height": 64, "width": 64}, "does not take films as its card says"),
    ],
)
def test_a_card_that_does_not_fit_is_told_before_any_work(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        open_foreign(foreign_graph(tmp_path / "m.onnx"), card(**changes))


def test_no_file_and_no_graph(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="There is no ONNX file"):
        open_foreign(tmp_path / "m.onnx", card())
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="cannot open"):
        open_foreign(tmp_path / "m.onnx", card())


def test_a_card_is_read_from_toml(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(CARD)
    assert read_foreign_card(tmp_path / "card.toml") == card()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes = [", "not valid TOML"),
        ('classes = ["A", "B"]\nheight = 56\n', "missing: width"),
        (CARD + "colour = 1\n", "unknown: colour"),
        (CARD + 'layout = "CHWN"\n', "layout must be 'NCHW' or 'NHWC', got 'CHWN'"),
        (CARD + "channels = 2\n", "channels must be 1 or 3"),
        (CARD + "channels = 1\n", "mean must have one value a channel"),
        (CARD + 'positive = "FLU"\n', "positive must be one of NORMAL, PNEUMONIA"),
        (CARD + "scale = 0\n", "scale must be above 0"),
        (CARD.replace('["NORMAL", "PNEUMONIA"]', '["A"]'), "classes must name the network's outputs"),
        (CARD.replace("height = 56", "height = 8"), "16 to 2048"),
        (CARD.replace("height = 56", 'height = "tall"'), "wrong kind"),
    ],
)
def test_bad_cards(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_foreign_card(tmp_path / "card.toml")


def test_a_missing_card_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_foreign_card(tmp_path / "card.toml")
