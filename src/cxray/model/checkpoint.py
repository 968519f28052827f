"""The state of an unfinished run, so exact that a resumed run ends like an uninterrupted one.

One file, `checkpoint/state.npz`, replaced whole after every epoch: weights, optimiser, average, best weights so far
and the history. Random numbers need no state: order, augmentation and dropout are functions of (seed, epoch).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import UsageError
from cxray.model.history import Epoch
from cxray.rundir import atomic_open

Arrays = Sequence[npt.NDArray[Any]]
_GROUPS = ("weights", "optimizer", "average", "best")


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """State after `history[-1]`. `fingerprint` names recipe and films: another run's checkpoint is refused."""

    fingerprint: str
    history: tuple[Epoch, ...]
    weights: Arrays
    optimizer: Arrays
    average: Arrays
    best: Arrays

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        facts = {"fingerprint": self.fingerprint, "history": [dataclasses.asdict(epoch) for epoch in self.history]}
        arrays = {
            f"{group}_{index:05d}": np.asarray(array)
            for group in _GROUPS
            for index, array in enumerate(getattr(self, group))
        }
        with atomic_open(path, "wb") as stream:
            arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
            np.savez(stream, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> Checkpoint:
        """Read the state of the run that `fingerprint` names.

        Raises:
            UsageError: the checkpoint belongs to other settings or other films.
        """
        with np.load(path, allow_pickle=False) as stored:
            facts = json.loads(stored["facts"].tobytes().decode())
            groups = {
                group: [stored[name] for name in sorted(stored.files) if name.startswith(f"{group}_")]
                for group in _GROUPS
            }
        if facts["fingerprint"] != fingerprint:
            raise UsageError(
                f"The checkpoint in {path.parent} was made with other settings, seed or films.",
                "Resume with the command that started the run, or start anew with another --out.",
            )
        return cls(fingerprint, tuple(Epoch(**row) for row in facts["history"]), **groups)
