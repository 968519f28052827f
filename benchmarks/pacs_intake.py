"""How fast does a node take films over C-STORE, and does its memory stay flat?

dcmtk's storescu sends films of 4 MB to `cxray pacs listen` on this machine. A film counts when the sender has its
success, which the node gives after the film was flushed to disk. The node's worker runs beside it as it does in a
hospital (`--worker`) or is held (the default measures the door alone: a worker that assesses would share the cores).

    python benchmarks/pacs_intake.py BUNDLE --films 500 --megabytes 4 --associations 1 --out results/pacs_intake.csv

The peak memory of the door's process is read from the system after every hundred films; "flat" compares the last
reading with the first. For scale, the same films are sent to dcmtk's own storescp, which does not flush to disk.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.machine import append_row, facts
from tests.data.dicom.films import film, save
from tests.pacs.world import free_port, program, wait_until

SIDE = 1414  # 1414 x 1414 x 2 bytes = 4.0 MB


def draw_films(folder: Path, number: int, megabytes: float) -> list[Path]:
    """Films of noise of this size, each with its own UID."""
    side = round((megabytes * 1e6 / 2) ** 0.5)
    rng = np.random.default_rng(0)
    base = rng.integers(0, 4096, (side, side), dtype=np.uint16)
    paths = []
    for k in range(number):
        pixels = base.copy()
        pixels[0, :2] = k % 4096, k // 4096
        paths.append(save(film(pixels, patient=f"INTAKE{k}"), folder / f"{k:04d}.dcm"))
    return paths


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def send_all(port: int, paths: list[Path], associations: int, called: str) -> float:
    """Seconds for dcmtk to send everything, over so many associations at a time."""
    parts = [paths[k::associations] for k in range(associations)]
    command = [program("storescu", "dcmtk"), "-aet", "BENCH", "-aec", called, "--max-send-pdu", "131072", "127.0.0.1"]
    started = time.perf_counter()
    running = [subprocess.Popen([*command, str(port), *map(str, part)]) for part in parts]
    codes = [process.wait() for process in running]
    assert not any(codes), f"storescu left with {codes}"
    return time.perf_counter() - started


def measure_node(
    bundle: Path, folder: Path, paths: list[Path], associations: int, *, worker: bool
) -> dict[str, object]:
    """One node, all films; the row's figures."""
    port, state = free_port(), folder / "node"
    command = [sys.executable, "-m", "cxray", "pacs", "listen", str(bundle), "--state", str(state), "--dry-run"]
    command += ["--allow", "BENCH", "--port", str(port), "--quiet", "--attempts", "9"]
    node = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        echo = [program("echoscu", "dcmtk"), "-aet", "BENCH", "-aec", "CXRAY", "127.0.0.1", str(port)]
        wait_until(lambda: subprocess.run(echo, capture_output=True, check=False).returncode == 0, 60)
        time.sleep(8)  # the worker has loaded its model
        held = [] if worker else hold_children(node.pid)
        seconds, memory = 0.0, []
        for start in range(0, len(paths), 100):
            part = paths[start : start + 100]
            seconds += send_all(port, part, associations, "CXRAY")
            memory.append(resident_megabytes(node.pid))
        for pid in held:
            os.kill(pid, signal.SIGCONT)
    finally:
        node.terminate()
        node.wait(90)
    spooled = len(list((state / "spool").glob("*.dcm"))) + len(list((state / "local").iterdir()))
    assert worker or spooled >= len(paths), f"{spooled} of {len(paths)} films are there"
    size = sum(path.stat().st_size for path in paths)
    return {
        "megabytes_per_second": round(size / 1e6 / seconds, 1),
        "seconds": round(seconds, 2),
        "memory_first_mb": round(memory[0]),
        "memory_last_mb": round(memory[-1]),
    }


def hold_children(pid: int) -> list[int]:
    """Stop the worker (a child of ours) for the time of the measurement; its process numbers."""
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    children = [int(line) for line in told.stdout.split()]
    for child in children:
        os.kill(child, signal.SIGSTOP)
    return children


def measure_storescp(folder: Path, paths: list[Path], associations: int) -> float:
    """MB/s of dcmtk's own receiver, which writes files and flushes nothing."""
    port = free_port()
    (folder / "scp").mkdir()
    command = [program("storescp", "dcmtk"), "--fork", "-od", str(folder / "scp"), str(port)]
    server = subprocess.Popen(command)
    try:
        time.sleep(1)
        seconds = send_all(port, paths, associations, "ANY-SCP")
    finally:
        server.terminate()
        server.wait(10)
    return sum(path.stat().st_size for path in paths) / 1e6 / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--films", type=int, default=500)
    parser.add_argument("--megabytes", type=float, default=4)
    parser.add_argument("--associations", type=int, default=1)
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pacs_intake.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = draw_films(folder / "films", options.films, options.megabytes)
        row: dict[str, object] = {"films": options.films, "megabytes": options.megabytes}
        row |= {"associations": options.associations, "worker": int(options.worker)}
        row |= measure_node(options.bundle, folder, paths, options.associations, worker=options.worker)
        row["storescp_megabytes_per_second"] = round(measure_storescp(folder, paths, options.associations), 1)
    print(row)
    append_row(options.out, {**facts(), **row})


if __name__ == "__main__":
    main()
