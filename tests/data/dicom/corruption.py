"""Random damage to encoded films, decoded in a child process, so that a crash is seen as one.

One child decodes many damaged files in turn and reports each before it begins the next; when it dies, the file it was
at is the culprit, and a new child goes on behind it.

    python -m tests.data.dicom.corruption < cases.txt    # the child: lines of "<seed> <name of the encoding>"
"""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CASES_PER_ENCODING = 10
REPOSITORY = Path(__file__).resolve().parents[3]
_TIME_LIMIT_SECONDS = 900


@dataclasses.dataclass
class Outcome:
    """Counts of damaged films decoded and refused; seeds of crashes (with the signal) and of wrong results."""

    decoded: int = 0
    refused: int = 0
    crashed: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    wrong: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def note(self, answer: str, seed: int) -> None:
        """Count one answer of the child."""
        self.decoded += answer == "decoded"
        self.refused += answer == "refused"
        if answer.startswith("wrong"):
            self.wrong.append((seed, answer))


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


def outcomes_of_corruptions(names: Sequence[str], seeds: Sequence[int]) -> dict[str, Outcome]:
    """Decode one damaged film per encoding and seed in child processes."""
    outcomes = {name: Outcome() for name in names}
    remaining = [(name, seed) for name in names for seed in seeds]
    while remaining:
        child = subprocess.run(
            [sys.executable, "-m", "tests.data.dicom.corruption"],
            input="\n".join(f"{seed} {name}" for name, seed in remaining),
            cwd=REPOSITORY, capture_output=True, text=True, timeout=_TIME_LIMIT_SECONDS, check=False,
        )  # fmt: skip
        lines = child.stdout.splitlines()
        for line, (name, seed) in zip(lines, remaining, strict=False):
            outcomes[name].note(line, seed)
        remaining = remaining[len(lines) :]
        if remaining and child.returncode == 0:
            raise RuntimeError(f"the child ended early: {child.stderr[-500:]}")
        if remaining:
            name, seed = remaining.pop(0)
            outcomes[name].crashed.append((seed, child.returncode))
    return outcomes


def _child() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    from tests.data.dicom.encodings import ENCODINGS

    films: dict[str, tuple[Any, bytes]] = {}
    for line in sys.stdin:
        seed, _, name = line.rstrip("\n").partition(" ")
        truth, content = films.setdefault(name, ENCODINGS[name].film() if name not in films else films[name])
        print(_answer(damaged(content, int(seed)), truth.shape), flush=True)


def _answer(content: bytes, shape: tuple[int, ...]) -> str:
    from cxray.data.dicom import read_dicom
    from cxray.errors import UnreadableImage

    try:
        image = read_dicom(content)
    except UnreadableImage:
        return "refused"
    except BaseException as error:
        return f"wrong {type(error).__name__} {str(error)[:200]!r}"
    # Damage to Rows of a native film leaves bytes over: that may pass, but never without a word.
    is_sound = image.pixels.shape == shape or any("behind the pixels" in fact for fact in image.facts)
    is_sound &= bool(image.pixels.min() >= 0 and image.pixels.max() <= 1)
    return "decoded" if is_sound else f"wrong {image.pixels.shape} {image.facts}"


if __name__ == "__main__":
    _child()
