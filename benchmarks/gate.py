"""The input gate on films from elsewhere and on pictures that are no radiographs.

    python benchmarks/gate.py BUNDLE --test kermany224/test --adults nih-dev [--ankle RG3_J2KI.dcm] [--photographs DIR]

Photographs: what the installed packages carry (matplotlib, scikit-learn), and any folder given; on Debian the packages
`gnome-backgrounds` and `mate-backgrounds` hold sixty. Slices of other machines (CT, MR, ultrasound) come with pydicom.
Drawings, pages of text, noise, ramps and blank films are made here, from a seed that the gate never saw.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cxray.data.intake import read_inputs
from cxray.runtime.gate import ANSWERS
from cxray.runtime.predict import Predictor
from machine import append_row, facts

RESULTS = Path(__file__).parent / "results" / "gate.csv"
PICTURES = 20


def photographs(folders: list[Path]) -> Iterator[Image.Image]:
    """Colour photographs of installed packages and of the folders given."""
    import matplotlib
    import sklearn

    ours = [
        Path(matplotlib.__file__).parent / "mpl-data/sample_data",
        Path(sklearn.__file__).parent / "datasets/images",
    ]
    for folder in [*ours, *folders]:
        for path in sorted(folder.rglob("*.*")):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
                yield Image.open(path).convert("L")


def drawings(random: np.random.Generator) -> Iterator[Image.Image]:
    """Ellipses, boxes and lines on white or black."""
    for number in range(PICTURES):
        picture = Image.new("L", (600, 600), 255 * (number % 2))
        pen = ImageDraw.Draw(picture)
        for _ in range(int(random.integers(3, 40))):
            x, y = np.sort(random.integers(0, 600, 2)), np.sort(random.integers(0, 600, 2))
            shape = (pen.ellipse, pen.rectangle, pen.line)[int(random.integers(3))]
            shape([int(x[0]), int(y[0]), int(x[1]), int(y[1])], fill=int(random.integers(255)))
        yield picture


def pages(random: np.random.Generator) -> Iterator[Image.Image]:
    """Black text on a white page."""
    for _ in range(PICTURES):
        picture = Image.new("L", (600, 800), 255)
        pen = ImageDraw.Draw(picture)
        for line in range(20, 780, 18):
            pen.text((20, line), "".join(random.choice(list("abcdefgh ijklm nopqrs tuv"), 80)), fill=0)
        yield picture


def noise(random: np.random.Generator) -> Iterator[Image.Image]:
    """Independent grey values."""
    for _ in range(PICTURES):
        yield Image.fromarray(random.integers(0, 256, (300, 300)).astype(np.uint8))


def blank(_: np.random.Generator) -> Iterator[Image.Image]:
    """One grey value, and ramps."""
    for grey in (0, 1, 10, 64, 127, 128, 200, 255):
        yield Image.new("L", (300, 300), grey)
    ramp = np.linspace(0, 255, 300)[None].repeat(300, 0)
    for turn in range(4):
        yield Image.fromarray(np.rot90(ramp, turn).astype(np.uint8))


def slices(_: np.random.Generator) -> Iterator[Image.Image]:
    """What pydicom carries of other machines, stretched to 8 bit."""
    import pydicom
    from pydicom.data import get_testdata_file

    for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "693_J2KI.dcm", "examples_palette.dcm"):
        path = get_testdata_file(name, download=False)
        if path is not None:
            pixels = np.asarray(pydicom.dcmread(path).pixel_array, dtype=np.float64)
            grey = pixels[..., 0] if pixels.ndim == 3 else pixels
            yield Image.fromarray((255 * (grey - grey.min()) / max(np.ptp(grey), 1)).astype(np.uint8))


def judge(predictor: Predictor, group: str, paths: list[Path]) -> None:
    """Count the gate's answers over some files and append a row."""
    answers = [answer for answer in predictor.stream(read_inputs(paths).records) if not answer.error]
    said = [answer.verdict.answer if answer.verdict else "" for answer in answers]
    counts = {name: said.count(name) for name in ANSWERS}
    row = {"group": group, "bundle": predictor.bundle.identifier, "films": len(said), **counts, **facts()}
    append_row(RESULTS, row)
    print(f"{group:14s} {len(said):4d} films: " + ", ".join(f"{value} {name}" for name, value in counts.items()))


def main() -> None:
    """Judge every group and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--test", type=Path, help="Films like the training films.")
    parser.add_argument("--adults", type=Path, help="Chest films of another hospital.")
    parser.add_argument("--ankle", type=Path, help="A radiograph of another part of the body.")
    parser.add_argument("--photographs", type=Path, action="append", default=[])
    given = parser.parse_args()
    predictor = Predictor.open(given.bundle)
    for group, path in (("test", given.test), ("adults", given.adults), ("ankle", given.ankle)):
        if path is not None:
            judge(predictor, group, [path])
    random = np.random.default_rng(2026)
    made = {"photographs": photographs(given.photographs)} | {
        maker.__name__: maker(random) for maker in (drawings, pages, noise, blank, slices)
    }
    for group, pictures in made.items():
        with tempfile.TemporaryDirectory() as scratch:
            for number, picture in enumerate(pictures):
                picture.save(Path(scratch) / f"{number:03d}.png")
            judge(predictor, group, [Path(scratch)])


if __name__ == "__main__":
    main()
