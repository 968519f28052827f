"""Cold start of `cxray serve`: seconds from the start of the process to /api/ready, several times over.

python benchmarks/serve_start.py BUNDLE [--times 5]      written to results/serve_start.csv
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from machine import append_row, facts
from serve_load import free_port, memory_mib


def seconds_to_ready(bundle: Path, engine: str) -> tuple[float, float]:
    """Start once; seconds until the service says it is ready, and its resident memory in MiB with all children."""
    import psutil

    began = time.perf_counter()
    command = [sys.executable, "-m", "cxray", "serve", str(bundle), "--port", str(free_port()), "--engine", engine]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    line = process.stdout.readline()  # printed when every golden score held
    seconds = time.perf_counter() - began
    memory = memory_mib(psutil.Process(process.pid))
    process.terminate()
    process.wait(30)
    if not line.startswith("Ready"):
        raise SystemExit("the service did not become ready")
    return seconds, memory


def main() -> None:
    """Measure both engines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "serve_start.csv")
    arguments = parser.parse_args()
    for engine in ("onnxruntime", "openvino"):
        found = [seconds_to_ready(arguments.bundle, engine) for _ in range(arguments.times)]
        seconds = sorted(one for one, _ in found)
        row = {
            "engine": engine,
            "starts": len(found),
            "median_s": round(seconds[len(seconds) // 2], 2),
            "worst_s": round(seconds[-1], 2),
            "rss_mib": max(memory for _, memory in found),
        }
        print(row)
        append_row(arguments.out, {**row, **facts()})


if __name__ == "__main__":
    main()
