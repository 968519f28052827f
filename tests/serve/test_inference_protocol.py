"""The Open Inference Protocol, asked by Triton's own client, unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cxray.data.prepare import as_model_input, prepare_file
from cxray.runtime.predict import Predictor

triton = pytest.importorskip("tritonclient.http", reason="needs the extra dev-serve")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def asked(client: httpx.Client) -> Iterator[Any]:
    opened = triton.InferenceServerClient(client.base_url.netloc.decode())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def films(bundle: Path, phantom_films: Path) -> np.ndarray:
    card = Predictor.open(bundle, "onnxruntime").bundle.card
    paths = sorted((phantom_films / "test").rglob("*.png"))[:5]
    return as_model_input(np.stack([prepare_file(path, card) for path in paths]))


def test_health_and_metadata(asked: Any) -> None:
    assert asked.is_server_live() and asked.is_server_ready() and asked.is_model_ready("tiny")
    assert not asked.is_model_ready("other")
    assert "binary_tensor_data" in asked.get_server_metadata()["extensions"]
    model = asked.get_model_metadata("tiny")
    assert model["inputs"] == [{"name": "films", "datatype": "FP32", "shape": [-1, 64, 64, 1]}]
    assert model["parameters"]["labels"] == ["NORMAL", "PNEUMONIA"]
    assert asked.get_model_repository_index() == [{"name": "tiny", "version": "1", "state": "READY"}]


@pytest.mark.parametrize("is_binary_in", [True, False])
@pytest.mark.parametrize("is_binary_out", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_scores_are_those_of_the_predictor(
    asked: Any, bundle: Path, films: np.ndarray, is_binary_in: bool, is_binary_out: bool, compression: str | None
) -> None:
    given = triton.InferInput("films", films.shape, "FP32")
    given.set_data_from_numpy(films, binary_data=is_binary_in)
    wanted = [triton.InferRequestedOutput(name, binary_data=is_binary_out) for name in ("scores", "logits")]
    answer = asked.infer("tiny", [given], outputs=wanted, request_id="seven", request_compression_algorithm=compression)
    predictor = Predictor.open(bundle, "onnxruntime")
    expected = predictor.scores(np.rint(films[..., 0] * 255).astype(np.uint8))
    np.testing.assert_allclose(answer.as_numpy("scores"), expected, atol=1e-6)
    assert answer.as_numpy("scores").dtype == np.float64 and answer.as_numpy("logits").dtype == np.float32
    assert answer.get_response()["id"] == "seven"


def test_errors_reach_the_client_as_sentences(asked: Any, films: np.ndarray) -> None:
    given = triton.InferInput("films", [1, 32, 32, 1], "FP32")
    given.set_data_from_numpy(films[:1, :32, :32])
    with pytest.raises(triton.InferenceServerException, match=r"bad_request: The shape must be \[N, 64, 64, 1\]"):
        asked.infer("tiny", [given])
    many = triton.InferInput("films", [33, 64, 64, 1], "FP32")
    many.set_data_from_numpy(np.repeat(films[:1], 33, axis=0))
    with pytest.raises(triton.InferenceServerException, match="too_many_films: At most 32 films"):
        asked.infer("tiny", [many])
    for name, version, words in (("other", "", "unknown_model"), ("tiny", "2", "There is only version 1")):
        with pytest.raises(triton.InferenceServerException, match=words):
            asked.infer(name, [many], model_version=version)
