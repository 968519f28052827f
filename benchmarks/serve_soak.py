"""A long, slow run with hostile uploads among the films: every answer right, no restart, memory level.

    python benchmarks/serve_soak.py BUNDLE FILMS [--minutes 10] [--rate 4] [--hostile 0.05]

Each film's score is compared with the first answer it got, every tenth film asks for its heat map too, and each hostile
file must get the refusal that belongs to it.
Resident memory of the service and all its children is taken every five seconds; level means that the mean of the last
quarter lies within 10 % of the mean of the second. Written to results/serve_soak.csv.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

from machine import append_row, facts
from serve_load import free_port, memory_mib

MEMORY_SECONDS = 5.0
SUFFIXES = (".png", ".jpeg", ".jpg", ".dcm")
MAP_SHARE = 0.1  # of the films, with a heat map


def png(width: int, height: int, data: bytes) -> bytes:
    """A grey 8-bit PNG with any claim about its size."""
    sides = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    chunks = [(b"IHDR", sides), (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )


def hostile_files(film: bytes) -> list[tuple[bytes, set[str]]]:
    """Files that must be refused, with the codes that are right for each."""
    cut = film[: len(film) // 2]
    return [
        (b"", {"empty_film"}),
        (png(60000, 60000, bytes(60001)), {"film_too_large"}),
        (png(8100, 8100, bytes(8101 * 8100)), {"film_too_large"}),
        (png(7000, 7000, bytes(50)), {"damaged_film"}),
        (png(3, 3, bytes(12)), {"film_too_small"}),
        (cut, {"damaged_film"}),
        (random.Random(0).randbytes(200_000), {"unsupported_format"}),
        (b"GIF89a" + bytes(100), {"unsupported_format"}),
        (b"PK\x03\x04" + bytes(100), {"unsupported_format"}),
        (bytes(128) + b"DICM" + random.Random(1).randbytes(5000), {"damaged_film", "film_refused"}),
        (b"\xff\xd8\xff" + random.Random(2).randbytes(5000), {"damaged_film"}),
    ]


class Soak:
    """One run: counts what was right and what was not."""

    def __init__(self, client: httpx.Client, films: list[bytes], seed: int) -> None:
        self.client, self.films, self.random = client, films, random.Random(seed)
        self.hostile = hostile_files(films[0])
        self.first: dict[int, dict[str, float]] = {}
        self.right = self.refused = 0
        self.wrong: list[str] = []

    def one(self, hostile_share: float) -> None:
        """Send one film or one hostile file."""
        if self.random.random() < hostile_share:
            content, codes = self.random.choice(self.hostile)
            answer = self.send(content)
            is_right = answer.status_code in (413, 415, 422) and answer.json()["code"] in codes
            self.refused += is_right
        else:
            number, has_map = self.random.randrange(len(self.films)), self.random.random() < MAP_SHARE
            answer = self.send(self.films[number], "?heat_map=true" if has_map else "")
            known = self.first.setdefault(number, answer.json().get("scores", {}))
            is_right = answer.status_code == 200 and self.is_same(answer.json()["scores"], known)
            is_right = is_right and has_map == bool(answer.json()["heat_map"])
            self.right += is_right
        if not is_right:
            said = answer.json()
            self.wrong.append(f"{answer.status_code} {said.get('code', '')} {said.get('detail', '')}")

    def send(self, content: bytes, query: str = "") -> httpx.Response:
        """One request."""
        kind = {"Content-Type": "application/octet-stream"}
        return self.client.post(f"/api/predict{query}", content=content, headers=kind)

    @staticmethod
    def is_same(scores: dict[str, float], known: dict[str, float]) -> bool:
        """Whether two answers agree; the size of a batch may change the last digits."""
        return all(abs(scores[name] - known[name]) < 1e-5 for name in scores)


def run(process: subprocess.Popen[str], soak: Soak, arguments: argparse.Namespace) -> dict[str, Any]:
    """Send at the wanted rate and watch memory."""
    server, memory = psutil.Process(process.pid), []
    began = time.monotonic()
    next_film = next_look = began
    while (now := time.monotonic()) < began + 60 * arguments.minutes:
        if now >= next_look:
            memory.append(memory_mib(server))
            next_look += MEMORY_SECONDS
        soak.one(arguments.hostile)
        next_film = max(next_film + 1 / arguments.rate, time.monotonic() - 1)
        time.sleep(max(0.0, next_film - time.monotonic()))
    quarter = max(1, len(memory) // 4)
    early, late = memory[quarter : 2 * quarter] or memory, memory[-quarter:]
    early_mean, late_mean = sum(early) / len(early), sum(late) / len(late)
    text = soak.client.get("/metrics").text
    restarts = next(line.split()[-1] for line in text.splitlines() if line.startswith("cxray_decoder_restarts "))
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "films_right": soak.right,
        "hostile_right": soak.refused,
        "wrong": len(soak.wrong),
        "decoder_restarts": int(float(restarts)),
        "server_restarts": int(process.poll() is not None),
        "rss_second_quarter_mib": round(early_mean, 1),
        "rss_last_quarter_mib": round(late_mean, 1),
        "rss_change_percent": round(100 * (late_mean / early_mean - 1), 2),
    }


def main() -> None:
    """Start the service, soak it, write the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("films", type=Path, help="Folder of films.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=4, help="Uploads a second.")
    parser.add_argument("--hostile", type=float, default=0.05, help="Share of hostile files.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "serve_soak.csv")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.films.rglob("*") if path.suffix in SUFFIXES)[:60]
    port = free_port()
    command = [sys.executable, "-m", "cxray", "serve", str(arguments.bundle), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline().startswith("Ready")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            soak = Soak(client, [path.read_bytes() for path in paths], seed=0)
            row = run(process, soak, arguments)
        print(row, *Counter(soak.wrong).most_common(9), sep="\n")
        append_row(arguments.out, {**row, "hostile_share": arguments.hostile, **facts()})
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
