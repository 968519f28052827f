"""The parts of a prediction apart: decoding one film by several libraries, and one graph on several engines.

    python benchmarks/speed_parts.py BUNDLE --jpeg FOLDER --png FOLDER

One core for decoding; all cores for engines. Libraries that are not installed are left out. The best of three passes,
because a busy machine only ever adds. Appended to `results/speed_parts.csv`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxray.config import InputCard
from cxray.data.decode import decode_bytes
from cxray.data.prepare import prepare
from cxray.runtime.engine import open_engine
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "speed_parts.csv"


def pillow_rgb(content: bytes) -> Any:
    """Colour, then luma: the plain way."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")) @ np.array([0.299, 0.587, 0.114], np.float32)


def pillow_grey(content: bytes) -> Any:
    """Pillow's own conversion."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L"))


def decoders() -> dict[str, Callable[[bytes], Any]]:
    """What can decode here, by name."""
    card = InputCard()
    found: dict[str, Callable[[bytes], Any]] = {
        "cxray, decoded": lambda content: decode_bytes(content, at_least=224).pixels,
        "cxray, decoded and prepared": lambda content: prepare(decode_bytes(content, at_least=224), card),
        "Pillow, RGB and luma": pillow_rgb,
        "Pillow, convert('L')": pillow_grey,
    }
    for name, function in (
        ("cv2", lambda m, content: m.imdecode(np.frombuffer(content, np.uint8), m.IMREAD_GRAYSCALE)),
        ("simplejpeg", lambda m, content: m.decode_jpeg(content, "GRAY")),
        ("imagecodecs", lambda m, content: m.imread(content)),
    ):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        found[name] = lambda content, m=module, f=function: f(m, content)  # type: ignore[misc]
    return found


def best_of_three(work: Callable[[], Any]) -> float:
    """Seconds."""
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return min(spent)


def decoding(folder: Path, kind: str, most: int) -> list[dict[str, object]]:
    """One row a library."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lstrip(".") in (kind, "jpg"))
    contents = [path.read_bytes() for path in paths[:: max(1, len(paths) // most)][:most]]
    rows: list[dict[str, object]] = []
    for name, decode in decoders().items():
        try:
            seconds = best_of_three(lambda decode=decode: [decode(content) for content in contents]) / len(contents)  # type: ignore[misc]
        except ValueError:  # simplejpeg reads no PNG
            continue
        rows.append({"part": f"decode {kind}", "way": name, "milliseconds_a_film": round(1000 * seconds, 3)})
    return rows


def engines(bundle: Path) -> list[dict[str, object]]:
    """One row an engine, precision and batch."""
    rows: list[dict[str, object]] = []
    side = open_shape(bundle)
    for engine, precision in (("onnxruntime", "float32"), ("openvino", "float32"), ("openvino", "bfloat16")):
        for batch in (1, 8, 32):
            opened = open_engine(bundle / "model.onnx", engine, batch=batch, precision=precision)
            films = np.full((batch, *side, 1), 0.5, np.float32)
            opened.run(films)
            spent = []
            for _ in range(max(5, 48 // batch)):
                started = time.perf_counter()
                opened.run(films)
                spent.append(time.perf_counter() - started)
            each = 1000 * statistics.median(spent) / batch
            way = f"{engine} {precision}, batch {batch}"
            rows.append({"part": "engine", "way": way, "milliseconds_a_film": round(each, 3)})
    return rows


def open_shape(bundle: Path) -> tuple[int, int]:
    """Height and width of the bundle's films."""
    from cxray.bundle import load_bundle

    card = load_bundle(bundle).card
    return card.height, card.width


def main() -> None:
    """Measure and append one row a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--jpeg", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    given = parser.parse_args()
    rows = [*decoding(given.jpeg, "jpeg", 300), *decoding(given.png, "png", 30), *engines(given.bundle)]
    known = facts()
    for row in rows:
        row["films_per_s"] = round(1000 / float(str(row["milliseconds_a_film"])), 1)
        append_row(RESULTS, {**row, **known})
        print(row)


if __name__ == "__main__":
    main()
