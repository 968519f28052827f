"""DICOM films in: grey values beside dcmtk and torchxrayvision, damaged files, speed of every encoding.

    python -m benchmarks.dicom pixels [--torchxrayvision FOLDER] [--real FILM]
    python -m benchmarks.dicom damage --cases 2000
    python -m benchmarks.dicom speed

`pixels` renders every variant of tests/data/dicom/matrix.py with dcm2pnm and compares in grey levels of 255.
torchxrayvision's reader is its own file `utils.py`, from a folder into which its wheel was unpacked; what it imports
besides pydicom and numpy is replaced by empty modules, because its reader uses none of it. `damage` decodes randomly
damaged films of every encoding in child processes. `speed` reads a 5-megapixel film in every encoding.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import pydicom  # noqa: E402
from tests.data.dicom import encodings  # noqa: E402
from tests.data.dicom.corruption import outcomes_of_corruptions  # noqa: E402
from tests.data.dicom.films import dcmtk_grey, grey_of, save  # noqa: E402
from tests.data.dicom.matrix import MATRIX, variant_film  # noqa: E402

from cxray.data.dicom import read_dicom  # noqa: E402
from machine import facts  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
_REPEATS = 7
Reader = Callable[[Path], np.ndarray[Any, Any]]


def machine() -> dict[str, str]:
    """Date, commit, processor, versions: also of the libraries that decode, and of dcmtk."""
    names = ("pydicom", "imagecodecs", "pyjpegls", "pylibjpeg-openjpeg")
    told = subprocess.run(["sh", "-c", "command -p dcm2pnm --version"], capture_output=True, text=True, check=False)
    version = told.stdout.partition(" v")[2].split(" ")[0]
    return {**facts(), **{name: importlib.metadata.version(name) for name in names}, "dcmtk": version}


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Write one run's table; every row carries the machine's facts."""
    told = machine()
    with (RESULTS / name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], *told], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **told} for row in rows)


def torchxrayvision_readers(folder: Path) -> dict[str, Reader]:
    """Their reader with default settings and with `voi_lut=True`, as grey 0-1."""
    for name in ("torch", "skimage", "requests"):
        sys.modules.setdefault(name, types.ModuleType(name))
    torch: Any = sys.modules["torch"]
    torch.nn = types.SimpleNamespace(Module=object)
    torch.utils = types.SimpleNamespace(data=types.SimpleNamespace(Dataset=object))
    spec = importlib.util.spec_from_file_location("txrv_utils", folder / "torchxrayvision" / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    utils: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    return {
        "torchxrayvision": lambda path: utils.read_xray_dcm(path) / 2048 + 0.5,
        "torchxrayvision voi_lut": lambda path: utils.read_xray_dcm(path, voi_lut=True) / 2048 + 0.5,
    }


def compare(readers: dict[str, Reader], path: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """Largest and mean difference from dcmtk of each reader, in grey levels; the error where it has none."""
    theirs = dcmtk_grey(path, *options).astype(np.int64)
    row: dict[str, Any] = {}
    for name, reader in readers.items():
        try:
            difference = np.abs(np.clip(grey_of(reader(path)), 0, 255) - theirs)
            row |= {f"{name} largest": int(difference.max()), f"{name} mean": round(float(difference.mean()), 3)}
        except Exception as error:  # what another reader does with a film is the finding
            row |= {f"{name} largest": type(error).__name__, f"{name} mean": ""}
    return row


def pixels(arguments: argparse.Namespace) -> None:
    """The matrix and, where given, a real film."""
    warnings.simplefilter("ignore")
    readers: dict[str, Reader] = {"cxray": lambda path: read_dicom(path).pixels}
    if arguments.torchxrayvision:
        readers |= torchxrayvision_readers(arguments.torchxrayvision)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, (_, (_, _, _, options)) in MATRIX.items():
            path = save(variant_film(name), Path(place) / "film.dcm")
            rows.append({"variant": name, **compare(readers, path, options)})
        if arguments.real:
            dataset = pydicom.dcmread(arguments.real)
            dataset.decompress()
            path = save(dataset, Path(place) / "real.dcm")
            name = "a real chest film (CR, MONOCHROME1, 15 bit)"
            rows.append({"variant": name, **compare(readers, path, ("+Wi", "1"))})
    for row in rows:
        print(*row.values(), sep="\t")
    write("dicom_pixels.csv", rows)


def damage(arguments: argparse.Namespace) -> None:
    """Randomly damaged films of every encoding, each decoded in a child process."""
    names = list(encodings.ENCODINGS)
    cases = -(-arguments.cases // len(names))
    rows = []
    for name in names:
        outcome = outcomes_of_corruptions([name], range(cases))[name]
        rows.append(
            {"encoding": name, "cases": cases, "decoded": outcome.decoded, "refused": outcome.refused,
             "process crashed": len(outcome.crashed), "wrong shape or range": len(outcome.wrong)}
        )  # fmt: skip
        print(*rows[-1].values(), outcome.crashed, outcome.wrong, sep="\t", flush=True)
    write("dicom_damage.csv", rows)


def speed(_: argparse.Namespace) -> None:
    """Milliseconds to read one 5-megapixel film in every encoding, from bytes to grey 0-1."""
    encodings.SIZE = (2500, 2048)
    rows = []
    for name, encoding in encodings.ENCODINGS.items():
        _, content = encoding.film()
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            read_dicom(content)
            times.append(1000 * (time.perf_counter() - start))
        rows.append(
            {"encoding": name, "megapixels": 5.12, "file_bytes": len(content),
             "median_ms": round(statistics.median(times), 1), "slowest_ms": round(max(times), 1)}
        )  # fmt: skip
        print(*rows[-1].values(), sep="\t", flush=True)
    write("dicom_speed.csv", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    parser_pixels = commands.add_parser("pixels")
    parser_pixels.add_argument("--torchxrayvision", type=Path)
    parser_pixels.add_argument("--real", type=Path)
    parser_pixels.set_defaults(run=pixels)
    parser_damage = commands.add_parser("damage")
    parser_damage.add_argument("--cases", type=int, default=2000)
    parser_damage.set_defaults(run=damage)
    commands.add_parser("speed").set_defaults(run=speed)
    chosen = parser.parse_args()
    chosen.run(chosen)
