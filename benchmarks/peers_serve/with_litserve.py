"""The same bundle behind LitServe, batching switched on. Run: python with_litserve.py BUNDLE PORT."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime
from PIL import Image


class Films(litserve.LitAPI):
    """Decode, batch, run, unbatch, as LitServe's guide divides it."""

    def setup(self, device: str) -> None:
        """Open the graph once for a worker."""
        self.session = onnxruntime.InferenceSession(f"{sys.argv[1]}/model.onnx", providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]

    def decode_request(self, request: dict[str, str]) -> Any:
        """The film of a JSON request to a prepared film: LitServe hands its workers JSON, never a raw body."""
        side = self.input.shape[1] if isinstance(self.input.shape[1], int) else 224
        film = Image.open(io.BytesIO(base64.b64decode(request["film"]))).convert("L").resize((side, side))
        return np.asarray(film, np.float32)[..., None] / 255

    def predict(self, films: Any) -> Any:
        """One run of the graph."""
        films = np.asarray(films, np.float32)
        return self.session.run(["logits"], {self.input.name: films if films.ndim == 4 else films[None]})[0]

    def encode_response(self, logits: Any) -> dict[str, list[float]]:
        """Logits as JSON."""
        return {"logits": np.ravel(logits).tolist()}


if __name__ == "__main__":
    api = Films(max_batch_size=16, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="error", generate_client_file=False)
