"""Random damage to encoded films, decoded in a child process, so that a crash is seen as one.

One child decodes many damaged files in turn and reports each before it begins the next; when it dies, the file it was
at is the culprit, and a new child goes on behind it.

    python -m tests.data.dicom.corruption 0 125 "JPEG-LS"    # the child
"""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CASES_PER_ENCODING = 12
REPOSITORY = Path(__file__).resolve().parents[3]
_TIME_LIMIT_SECONDS = 300


@dataclasses.dataclass
class Outcome:
    """Counts of damaged films decoded and refused; seeds of crashes (with the signal) and of wrong results."""

    decoded: int = 0
    refused: int = 0
    crashed: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    wrong: list[tuple[int, str]] = dataclasses.field(default_factory=list)


def damaged(content: bytes, seed: int) -> bytes:
    """`content` with bytes changed, removed, repeated or cut off; half of the damage goes into the pixels."""
    rng = random.Random(seed)
    data = bytearray(content)
    low = rng.choice([132, len(data) // 2])
    for _ in range(rng.choice([1, 1, 2, 5, 20, 100])):
        at = rng.randrange(min(low, len(data) - 1), len(data))
        kind = rng.random()
        if kind < 0.6:
            data[at] = rng.randrange(256)
        elif kind < 0.75:
            del data[at : at + rng.choice([1, 2, 7, 300])]
        elif kind < 0.9:
            data[at:at] = data[at : at + rng.choice([1, 2, 7, 300])]
        else:
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xd9\xff\xd8", b"\x7f\xff\xff\xff"])
        if len(data) < 200:
            break
    if rng.random() < 0.1:
        del data[rng.randrange(132, max(133, len(data))) :]
    return bytes(data)


def outcome_of_corruptions(encoding: str, seeds: Sequence[int]) -> Outcome:
    """Decode one damaged film per seed in child processes."""
    outcome, remaining = Outcome(), list(seeds)
    while remaining:
        span = [str(remaining[0]), str(remaining[-1] + 1)]
        command = [sys.executable, "-m", "tests.data.dicom.corruption", *span, encoding]
        child = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=_TIME_LIMIT_SECONDS, check=False
        )
        lines = [line.split(" ", 2) for line in child.stdout.splitlines()]
        for word, seed, *rest in lines:
            if word == "decoded":
                outcome.decoded += 1
            elif word == "refused":
                outcome.refused += 1
            else:
                outcome.wrong.append((int(seed), " ".join(rest)))
        remaining = remaining[len(lines) :]
        if remaining and child.returncode == 0:
            raise RuntimeError(f"the child ended early: {child.stderr[-500:]}")
        if remaining:
            outcome.crashed.append((remaining[0], child.returncode))
            remaining = remaining[1:]
    return outcome


def _child(first: int, end: int, name: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    from cxray.data.dicom import read_dicom
    from cxray.errors import UnreadableImage
    from tests.data.dicom.encodings import ENCODINGS

    truth, content = ENCODINGS[name].film()
    for seed in range(first, end):
        try:
            image = read_dicom(damaged(content, seed))
            # Damage to Rows of a native film leaves bytes over: that may pass, but never without a word.
            is_sound = image.pixels.shape == truth.shape or any("behind the pixels" in fact for fact in image.facts)
            is_sound &= bool(image.pixels.min() >= 0 and image.pixels.max() <= 1)
            print("decoded" if is_sound else "wrong", seed, image.pixels.shape, flush=True)
        except UnreadableImage:
            print("refused", seed, flush=True)
        except BaseException as error:
            print("wrong", seed, type(error).__name__, str(error)[:200].replace("\n", " "), flush=True)


if __name__ == "__main__":
    _child(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
