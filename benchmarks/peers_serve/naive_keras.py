"""The service that most tutorials show: FastAPI, Pillow, `model.predict`. Run: python naive_keras.py BUNDLE PORT."""

from __future__ import annotations

import io
import sys

import keras
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image

model = keras.saving.load_model(f"{sys.argv[1]}/model.keras", compile=False)
side = model.inputs[0].shape[1]
app = FastAPI()


def score(body: bytes) -> list[float]:
    """Decode, resize, predict."""
    film = Image.open(io.BytesIO(body)).convert("L").resize((side, side))
    outputs = model.predict(np.asarray(film, np.float32)[None, ..., None] / 255, verbose=0)
    outputs = outputs["logits"] if isinstance(outputs, dict) else outputs[0] if isinstance(outputs, list) else outputs
    return [float(value) for value in np.ravel(outputs)]


@app.post("/predict")
async def predict(request: Request) -> dict[str, list[float]]:
    """Answer one film; `predict` blocks the loop, as it does in those tutorials."""
    return {"logits": score(await request.body())}


score_once = score(open(f"{sys.argv[1]}/golden.png", "rb").read())  # noqa: SIM115, PTH123 - warm before the port opens
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
