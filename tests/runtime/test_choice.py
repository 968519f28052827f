"""The faster engine is measured once, remembered for this graph and setting, and its loss costs nothing but time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cxray.config import InputCard
from cxray.data.cache import cache_folder
from cxray.errors import BundleError, UsageError
from cxray.model.mobilenet import GraphParts
from cxray.model.probe_graph import write_model
from cxray.runtime import choice
from cxray.runtime.engine import BATCH, OnnxRuntime, in_batches, open_engine

pytest.importorskip("openvino", reason="needs the extra openvino")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRAY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A graph with the bundle's outputs and one convolution, made in no time."""
    generator, parts = np.random.default_rng(4), GraphParts()
    kernel = parts.constant("kernel", generator.normal(size=(6, 1, 3, 3)).astype(np.float32))
    planes = parts.add("Transpose", ["films"], perm=[0, 3, 1, 2])
    maps = parts.add("Relu", [parts.add("Conv", [planes, kernel], strides=[4, 4])])
    parts.add("Transpose", [maps], output="feature_map", perm=[0, 2, 3, 1])
    parts.add("Flatten", [parts.add("GlobalAveragePool", [maps])], output="features")
    weights = parts.constant("weights", generator.normal(size=(6, 2)).astype(np.float32))
    parts.add("MatMul", ["features", weights], output="logits")
    shapes = {"logits": ["N", 2], "features": ["N", 6], "feature_map": ["N", 16, 16, 6]}
    write_model(tmp_path / "model.onnx", parts, InputCard(64, 64), shapes)
    return tmp_path / "model.onnx"


def test_the_answer_is_measured_once_for_each_graph_and_setting(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def measured(_graph: Path, candidates: list[str], threads: int, batch: int, _runs: int) -> dict[str, float]:
        calls.append((threads, batch))
        return {name: 100.0 + (name == "openvino") * (1 if threads == 1 else -1) for name in candidates}

    monkeypatch.setattr(choice, "measure", measured)
    assert [choice.fastest(graph, 1, 8) for _ in range(3)] == ["openvino"] * 3
    assert [choice.fastest(graph, 2, 8) for _ in range(3)] == ["onnxruntime"] * 3
    assert calls == [(1, 8), (2, 8)]
    (cache_folder() / "engines.json").write_text("{ damaged")
    assert choice.fastest(graph, 1, 8) == "openvino"
    assert calls == [(1, 8), (2, 8), (1, 8)]


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CXRAY_CACHE", str(tmp_path / "file"))
    assert choice.fastest(graph, 1, 8) in ("onnxruntime", "openvino")


def test_both_engines_are_really_measured_and_one_that_fails_is_left_out(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = choice.measure(graph, ["onnxruntime", "openvino"], 1, 4)
    assert set(speeds) == {"onnxruntime", "openvino"} and min(speeds.values()) > 1
    original = choice.opener

    def broken(name: str) -> object:
        if name == "openvino":
            raise BundleError("openvino cannot open it")
        return original(name)

    monkeypatch.setattr(choice, "opener", broken)
    assert set(choice.measure(graph, ["onnxruntime", "openvino"], 1, 4)) == {"onnxruntime"}


def test_without_openvino_nothing_is_measured(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.extras, "is_available", lambda _: False)
    monkeypatch.setattr(choice, "measure", lambda *_: pytest.fail("measured"))
    assert choice.fastest(graph, 1, 8) == "onnxruntime"


@pytest.mark.parametrize("count", [1, BATCH // 2, BATCH // 2 + 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_a_filled_up_batch_changes_nothing(graph: Path, count: int) -> None:
    films = np.random.default_rng(0).random((count, 64, 64, 1), dtype=np.float32)
    expected = OnnxRuntime(graph, threads=1, batch=count).run(films)
    for name in ("onnxruntime", "openvino"):
        answers = open_engine(graph, name, threads=1).run(films)
        assert answers["logits"].shape == (count, 2)
        np.testing.assert_allclose(answers["logits"], expected["logits"], atol=1e-3)
        np.testing.assert_allclose(answers["features"], expected["features"], atol=1e-3)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runs_side_by_side_do_not_mix_their_films(graph: Path, name: str) -> None:
    batches = np.random.default_rng(2).random((24, BATCH, 64, 64, 1), dtype=np.float32)
    expected = [open_engine(graph, name, threads=1).run(batch)["logits"] for batch in batches]
    engine = open_engine(graph, name, threads=1, runs=3)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(engine.run, batches))
    for answer, wanted in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer["logits"], wanted, atol=1e-5)


def test_batches_have_one_size_and_say_how_many_films_are_real() -> None:
    films = np.ones((5, 2, 2, 1), np.float32)
    parts = list(in_batches(films, 2))
    assert [(part.shape[0], real) for part, real in parts] == [(2, 2), (2, 2), (2, 1)]
    assert parts[2][0][1].sum() == 0


def test_engines_precisions_and_providers_that_cannot_be_had(graph: Path) -> None:
    for engine, precision, message in (
        ("openvino:GPU", "float32", "no engine 'openvino:GPU'"),
        ("onnxruntime", "bfloat16", "does not compute in bfloat16"),
        ("openvino", "int4", "no precision 'int4'"),
        ("onnxruntime:NoSuch", "float32", "has no provider 'NoSuch'"),
    ):
        with pytest.raises(UsageError, match=message):
            open_engine(graph, engine, precision=precision)
    films = np.zeros((1, 64, 64, 1), np.float32)
    assert open_engine(graph, "onnxruntime:cpu").run(films)["logits"].shape == (1, 2)


def test_bfloat16_is_near_float32(graph: Path) -> None:
    films = np.random.default_rng(1).random((4, 64, 64, 1), dtype=np.float32)
    exact = open_engine(graph, "openvino").run(films)["logits"]
    near = open_engine(graph, "openvino", precision="bfloat16").run(films)["logits"]
    np.testing.assert_allclose(near, exact, atol=0.2)
