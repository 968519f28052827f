"""Files to scores: `cxray predict` beside three other ways, each a whole process, imports included, interleaved.

    python benchmarks/speed_predict.py BUNDLE FILMS --name "5,840 JPEG of 224 px" --repeats 2

Peers: Keras' own pipeline (`image_dataset_from_directory` and `Model.predict` on the bundle's `model.keras`), a plain
ONNX Runtime loop with Pillow, and a plain PyTorch loop with Pillow (`--torch PYTHON`, an interpreter that has torch)
on a
MobileNet of the same shape with random weights. In the same run the two limits are measured: decoding and preparing
alone, and the engine alone. `--copies` lists every film several times. Appended to `results/speed_predict.csv`.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "speed_predict.csv"
SUFFIXES = (".jpeg", ".jpg", ".png")


def keras_pipeline(bundle: Path, films: Path, out: Path) -> None:
    """What the transfer-learning guide of Keras does with new films."""
    import keras

    model = keras.saving.load_model(bundle / "model.keras", compile=False)
    height, width = model.input_shape[1:3]
    data = keras.utils.image_dataset_from_directory(
        films, labels=None, color_mode="grayscale", image_size=(height, width), batch_size=32, shuffle=False
    )
    logits = model.predict(data.map(lambda batch: batch / 255.0), verbose=0)["logits"]
    write_logits(out, logits)


def onnx_loop(bundle: Path, films: Path, out: Path) -> None:
    """The loop that one writes in five minutes."""
    import numpy as np
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    _, height, width, _ = session.get_inputs()[0].shape
    logits = []
    for path in listed(films):
        with Image.open(path) as image:
            grey = image.convert("L").resize((width, height), Image.Resampling.BILINEAR)
        film = np.asarray(grey, dtype=np.float32)[None, :, :, None] / 255
        logits.append(session.run(["logits"], {"films": film})[0][0])
    write_logits(out, logits)


def torch_loop(bundle: Path, films: Path, out: Path) -> None:
    """The same loop with PyTorch; random weights, so only its time counts."""
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        first = [depthwise, nn.BatchNorm2d(inputs), nn.ReLU6()]
        return [*first, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6()]

    widths = [24, 48, 96, 96, 192, 192, *[384] * 6, 768, 768]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    layers = [nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6()]
    for k, stride in enumerate(strides):
        layers += block(widths[k], widths[k + 1], stride)
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(768, 2)).eval()
    logits = []
    with torch.inference_mode():
        for path in listed(films):
            with Image.open(path) as image:
                grey = image.convert("L").resize((224, 224), Image.Resampling.BILINEAR)
            film = torch.from_numpy(np.asarray(grey, dtype=np.float32) / 127.5 - 1)
            logits.append(network(film.expand(1, 3, 224, 224))[0].tolist())
    write_logits(out, logits)


PEERS: dict[str, Callable[[Path, Path, Path], None]] = {
    "keras": keras_pipeline,
    "onnxruntime": onnx_loop,
    "torch": torch_loop,
}


def listed(films: Path) -> list[Path]:
    """All film files below a folder, in order."""
    return sorted(path for path in films.rglob("*") if path.suffix in SUFFIXES)


def write_logits(out: Path, logits: object) -> None:
    """One row a film."""
    with out.open("w", newline="") as stream:
        csv.writer(stream).writerows(list(map(float, row)) for row in logits)  # type: ignore[attr-defined]


def limits(bundle: Path, films: Path, most: int = 600) -> dict[str, float]:
    """Films a second of decoding alone, on all cores, and of the engine alone."""
    import numpy as np

    from cxray.data.cache import decode_all
    from cxray.data.prepare import as_model_input
    from cxray.records import ImageRecord
    from cxray.runtime.predict import Predictor

    predictor = Predictor.open(bundle)
    records = [ImageRecord(path) for path in listed(films)[:most]]
    started = time.perf_counter()
    prepared = list(decode_all(records, predictor.bundle.card))
    decoding = len(records) / (time.perf_counter() - started)
    stacked = as_model_input(np.stack([film for film in prepared if not isinstance(film, str)]))
    started = time.perf_counter()
    predictor.engine.run(stacked)
    return {"decode_limit_per_s": decoding, "engine_limit_per_s": len(stacked) / (time.perf_counter() - started)}


def commands(given: argparse.Namespace, films: Path, scratch: Path) -> dict[str, list[str]]:
    """One command line for each way."""
    run = [sys.executable, __file__, str(given.bundle), str(films), "--worker"]
    ours = [sys.executable, "-m", "cxray", "predict", str(given.bundle), str(films)]
    found = {"cxray": [*ours, "--out", str(scratch / "cxray.csv")]}
    if given.bfloat16:
        found["cxray bfloat16"] = [*ours, "--precision", "bfloat16", "--out", str(scratch / "b.csv")]
    found["onnxruntime"] = [*run, "onnxruntime"]
    if (given.bundle / "model.keras").is_file():
        found["keras"] = [*run, "keras"]
    if given.torch:
        found["torch"] = [given.torch, *run[1:], "torch"]
    return found


def measure(given: argparse.Namespace, films: Path, scratch: Path) -> None:
    """Run all ways in turn, `repeats` times, and append one row each."""
    count = len(listed(films))
    seconds: dict[str, list[float]] = {}
    ceilings: list[dict[str, float]] = []
    for _ in range(given.repeats):
        for name, command in commands(given, films, scratch).items():
            started = time.perf_counter()
            # The bundle may be one that never saw such films: exit code 8 only says that some could not be read.
            subprocess.run(
                command, check=True, capture_output=True, cwd=scratch, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
            )
            seconds.setdefault(name, []).append(time.perf_counter() - started)
        ceilings.append(limits(given.bundle, films))
    ours = statistics.median(seconds["cxray"])
    for name, spent in seconds.items():
        row: dict[str, object] = {
            "films": given.name,
            "count": count,
            "way": name,
            "seconds_median": round(statistics.median(spent), 2),
            "seconds_all": " ".join(f"{value:.2f}" for value in spent),
            "films_per_s": round(count / statistics.median(spent), 1),
            "times_slower_than_cxray": round(statistics.median(spent) / ours, 2),
            **{key: round(statistics.median(c[key] for c in ceilings), 1) for key in ceilings[0]},
            **facts(),
        }
        append_row(RESULTS, row)
        print({key: row[key] for key in list(row)[:9]}, flush=True)


def main() -> None:
    """Measure, or be one of the peers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("films", type=Path)
    parser.add_argument("--name", default="")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--most", type=int, default=0, help="use only so many films, spread over the folder")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--torch", default="", help="an interpreter that has torch")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--worker", choices=sorted(PEERS))
    given = parser.parse_args()
    if given.worker:
        PEERS[given.worker](given.bundle, given.films, Path("peer.csv"))
        return
    with tempfile.TemporaryDirectory() as folder:
        films = Path(folder) / "films"
        films.mkdir()
        paths = listed(given.films)
        for path in paths[:: max(1, len(paths) // given.most)] if given.most else paths:
            for copy in range(given.copies):
                (films / f"{copy}-{path.parent.name}-{path.name}").symlink_to(path.resolve())
        measure(given, films, Path(folder))


if __name__ == "__main__":
    main()
