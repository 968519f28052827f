"""Closed-loop load on `cxray serve` and its peers, side by side on one machine, the same films in the same order.

    python benchmarks/serve_load.py BUNDLE --png FOLDER --jpeg FOLDER [--peer litserve=PYTHON] [--seconds 8]

Clients are raw sockets in one other process, so that the client costs every server the same. Each client sends its next
film when the answer is there; after a 429 or 503 it waits as `Retry-After` says. Written to results/serve_load.csv.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

from machine import append_row, facts

HERE = Path(__file__).resolve().parent
WARM_SECONDS = 1.5


def command(server: str, python: str, bundle: Path, port: int) -> list[str]:
    """How a server is started."""
    if server == "cxray":
        return [python, "-m", "cxray", "serve", str(bundle), "--port", str(port)]
    script = {"naive": "naive_keras.py", "litserve": "with_litserve.py"}[server]
    return [python, str(HERE / "peers_serve" / script), str(bundle), str(port)]


def versions(server: str, python: str) -> str:
    """The versions that matter of a server, asked of the interpreter that runs it."""
    packages = {"cxray": ("cxray", "fastapi", "uvicorn"), "naive": ("keras", "tensorflow", "fastapi", "uvicorn"),
                "litserve": ("litserve", "fastapi", "uvicorn", "onnxruntime")}[server]  # fmt: skip
    script = f"import importlib.metadata as m; print(*(f'{{n}} {{m.version(n)}}' for n in {packages}), sep=', ')"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_json(film: bytes) -> tuple[str, bytes]:
    """Content type and body of a JSON request with one film, for a peer that takes no raw body."""
    return "application/json", b'{"film": "' + base64.b64encode(film) + b'"}'


async def exchange(port: int, route: str, film: bytes, is_json: bool = False) -> tuple[int, int]:
    """One request on a connection of its own: status, and seconds to wait before the next."""
    kind, body = as_json(film) if is_json else ("application/octet-stream", film)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
    wait = next((int(line[13:]) for line in head.split("\r\n") if line.startswith("retry-after: ")), 0)
    return int(head.split()[1]), wait


async def load(
    port: int, route: str, is_json: bool, films: list[bytes], clients: int, seconds: float
) -> dict[str, object]:
    """Keep `clients` busy for `seconds` after a warm-up; answers a second, latencies in ms, statuses."""
    latencies: list[float] = []
    statuses: Counter[str] = Counter()
    start = time.perf_counter() + WARM_SECONDS

    async def client(number: int) -> None:
        turn = number
        while (began := time.perf_counter()) < start + seconds:
            try:
                status, wait = await exchange(port, route, films[turn % len(films)], is_json)
            except (OSError, IndexError, ValueError) as error:
                status, wait = 0, 1
                statuses[type(error).__name__] += 1
            ended = time.perf_counter()
            if began >= start:
                statuses[str(status)] += 1
                if status == 200:
                    latencies.append(1000 * (ended - began))
            turn += clients
            if wait:
                await asyncio.sleep(wait)

    await asyncio.gather(*(client(number) for number in range(clients)))
    latencies.sort()
    at = lambda share: round(latencies[min(len(latencies) - 1, int(share * len(latencies)))], 1)  # noqa: E731
    known = bool(latencies)
    return {
        "answers_per_second": round(len(latencies) / seconds, 2),
        "p50_ms": at(0.5) if known else "",
        "p99_ms": at(0.99) if known else "",
        "mean_ms": round(statistics.fmean(latencies), 1) if known else "",
        "statuses": json.dumps(dict(sorted(statuses.items()))),
    }


def memory_mib(process: psutil.Process) -> float:
    """Resident memory of a server and all its children."""
    family = [process, *process.children(recursive=True)]
    return round(sum(member.memory_info().rss for member in family) / 2**20, 0)


def wait_until_open(port: int, route: str, is_json: bool, film: bytes, process: subprocess.Popen[bytes]) -> float:
    """Seconds until the first film is answered."""
    began = time.perf_counter()
    while time.perf_counter() - began < 120:
        if process.poll() is not None:
            raise SystemExit("the server ended by itself")
        try:
            if asyncio.run(exchange(port, route, film, is_json))[0] == 200:
                return time.perf_counter() - began
        except (OSError, IndexError):
            pass
        time.sleep(0.02)
    raise SystemExit("the server did not open")


def measure(server: str, python: str, arguments: argparse.Namespace, kinds: dict[str, list[bytes]]) -> None:
    """All loads on one server; one row each."""
    port, route = free_port(), "/api/predict" if server == "cxray" else "/predict"
    process = subprocess.Popen(
        command(server, python, arguments.bundle, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        first = wait_until_open(port, route, server == "litserve", next(iter(kinds.values()))[0], process)
        for kind, films in kinds.items():
            for clients in arguments.clients:
                found = asyncio.run(load(port, route, server == "litserve", films, clients, arguments.seconds))
                rss = memory_mib(psutil.Process(process.pid))
                given = {"server": server, "films": kind, "clients": clients, "seconds": arguments.seconds}
                start = {"first_answer_s": round(first, 2), "versions": versions(server, python)}
                row = {**given, **found, "rss_mib": rss, **start}
                print(row, flush=True)
                append_row(arguments.out, {**row, **facts()})
    finally:
        for member in [*psutil.Process(process.pid).children(recursive=True)]:
            member.kill()
        process.kill()
        process.wait()


def main() -> None:
    """Read the films, measure server after server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--png", type=Path, required=True, help="Folder with large PNG films.")
    parser.add_argument("--jpeg", type=Path, required=True, help="Folder with small JPEG films.")
    parser.add_argument("--server", action="append", help="cxray, naive or litserve; several times; all by default.")
    parser.add_argument("--peer", action="append", default=[], help="litserve=PYTHON: another interpreter for a peer.")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "serve_load.csv")
    arguments = parser.parse_args()
    pythons = dict(text.split("=", 1) for text in arguments.peer)
    kinds = {
        "png": [path.read_bytes() for path in sorted(arguments.png.rglob("*.png"))[:40]],
        "jpeg": [path.read_bytes() for path in sorted(arguments.jpeg.rglob("*.jpeg"))[:40]],
    }
    for server in arguments.server or ["cxray", "naive", "litserve"]:
        measure(server, pythons.get(server, sys.executable), arguments, kinds)


if __name__ == "__main__":
    main()
