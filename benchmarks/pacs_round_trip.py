"""Does every film get its results exactly once, when the worker is killed on the way?

dcmtk sends films to a real Orthanc; `cxray pacs watch` follows it and stores a report (SR) and an overlay (SC) for
each film, and an outline (GSPS) where a finding is present. The worker process is killed with SIGKILL three times while
films are in work. Then everything is counted by what Orthanc holds; every result is put before dciodvfy and the first
reports before PixelMed; and a second node with an empty state folder goes over the same films, which must add nothing.

    python benchmarks/pacs_round_trip.py BUNDLE --films 200 --out results/pacs_round_trip.csv

Films are the synthetic phantoms, 512 pixels a side, 12 bits; every tenth is a lateral view, to be refused. With
`--real FOLDER` the JPEG or PNG films of a folder are wrapped as DICOM instead.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.machine import append_row, facts
from tests.data.dicom.films import film, save
from tests.pacs.world import (
    PASSWORD,
    USER,
    Orthanc,
    begin_pixelmed,
    complaints_of_pixelmed,
    dciodvfy,
    orthanc,
    send,
    wait_until,
)

SIDE = 512
MOST_SECONDS = 900


def draw_films(folder: Path, number: int, real: Path | None) -> list[Path]:
    """Films as DX; every tenth says that it is lateral."""
    paths = []
    for k in range(number):
        pixels = real_pixels(real, k) if real else phantom_pixels(k)
        view = "LL" if k % 10 == 9 else "PA"
        paths.append(save(film(pixels, patient=f"TRIP{k}", ViewPosition=view), folder / f"{k:04d}.dcm"))
    return paths


def phantom_pixels(k: int) -> np.ndarray:
    """A synthetic film as 12-bit values."""
    from cxray.data.phantom import PhantomPlan, draw_film

    drawn = draw_film(PhantomPlan(size_px=SIDE), k, film_index=0, seed=1, is_diseased=k % 2 == 0)
    return (drawn.pixels.astype(np.float64) * 4095).astype(np.uint16)


def real_pixels(folder: Path, k: int) -> np.ndarray:
    """Film number `k` of a folder, enlarged to `SIDE` and 12 bits."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    chosen = paths[k * len(paths) // 1000 % len(paths)] if len(paths) > 1000 else paths[k % len(paths)]
    with Image.open(chosen) as image:
        grey = image.convert("L").resize((SIDE, SIDE))
    return (np.asarray(grey, dtype=np.float64) / 255 * 4095).astype(np.uint16)


def node(bundle: Path, server: Orthanc, state: Path, log: Path) -> subprocess.Popen[bytes]:
    """`cxray pacs watch` until everything is done."""
    command = [sys.executable, "-m", "cxray", "pacs", "watch", str(bundle), server.url, "--state", str(state)]
    command += ["--from", "start", "--once", "--codes", "chest", "--log", str(log), "--quiet"]
    return subprocess.Popen(command)


def kill_worker(pid: int) -> None:
    """SIGKILL for the worker of a node, as soon as there is one."""
    wait_until(lambda: workers(pid), 60)
    os.kill(workers(pid)[0], signal.SIGKILL)


def workers(pid: int) -> list[int]:
    """The living worker processes of a node."""
    command = ["ps", "-ww", "-o", "pid=,stat=,args=", "--ppid", str(pid)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in told if "spawn_main" in line and "Z" not in line.split()[1]]


def first_run(bundle: Path, server: Orthanc, folder: Path, number: int) -> float:
    """The run with three kills; seconds from its start to its end."""
    started = time.perf_counter()
    running = node(bundle, server, folder / "node", folder / "log")
    for share in (0.2, 0.5, 0.8):
        wait_until(lambda least=share * number: server.counts().get("SR", 0) >= least, MOST_SECONDS)
        kill_worker(running.pid)
    assert running.wait(MOST_SECONDS) == 0
    return time.perf_counter() - started


def check_results(server: Orthanc, folder: Path, sent: list[Path]) -> dict[str, int]:
    """What Orthanc holds: films without results, films with more than one of a kind, complaints of both validators."""
    wanted = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in sent}
    held: dict[str, Counter[str]] = {"SR": Counter(), "OT": Counter()}
    complaints, read = 0, 0
    for modality in ("SR", "OT", "PR"):
        for entry in server.instances(modality):
            path = folder / "result.dcm"
            path.write_bytes(server.fetch(entry["id"]))
            result = pydicom.dcmread(path)
            complaints += len(dciodvfy(path))
            read += 1
            if modality in held:
                held[modality][source_of(result)] += 1
    return {
        "results": read,
        "lost": sum(len(wanted - set(found)) for found in held.values()),
        "doubled": sum(count - 1 for found in held.values() for count in found.values()),
        "dciodvfy_complaints": complaints,
    }


def source_of(result: pydicom.Dataset) -> str:
    """The UID of the film that a result is about."""
    if result.Modality == "SR":
        series = result.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        return str(series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    return str(result.SourceImageSequence[0].ReferencedSOPInstanceUID)


def pixelmed_complaints(server: Orthanc, folder: Path, most: int) -> tuple[int, int]:
    """Complaints over the first `most` reports (each takes seconds of Java), and how many were read."""
    entries = server.instances("SR")[:most]
    said = 0
    for entry in entries:
        path = folder / "report.dcm"
        path.write_bytes(server.fetch(entry["id"]))
        said += len(complaints_of_pixelmed(begin_pixelmed(path)))
    return said, len(entries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--pixelmed", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pacs_round_trip.csv")
    options = parser.parse_args()
    os.environ.update(CXRAY_PACS_USER=USER, CXRAY_PACS_PASSWORD=PASSWORD)
    with tempfile.TemporaryDirectory() as name, orthanc(Path(name) / "orthanc") as server:
        folder = Path(name)
        sent = draw_films(folder / "films", options.films, options.real)
        assert send(server.port, sent) == 0
        row: dict[str, object] = {"films": options.films, "source": "real" if options.real else "phantom", "kills": 3}
        row["seconds"] = round(first_run(options.bundle, server, folder, options.films), 1)
        before = server.counts()
        row |= {f"orthanc_{modality}": count for modality, count in sorted(before.items())}
        row |= check_results(server, folder, sent)
        row["pixelmed_complaints"], row["pixelmed_reports"] = pixelmed_complaints(server, folder, options.pixelmed)
        started = time.perf_counter()
        assert node(options.bundle, server, folder / "second", folder / "log2").wait(MOST_SECONDS) == 0
        row["second_seconds"] = round(time.perf_counter() - started, 1)
        after = server.counts()
        row["second_run_added"] = sum(after.values()) - sum(before.values())
    print(row)
    append_row(options.out, {**facts(), **row})


if __name__ == "__main__":
    main()
