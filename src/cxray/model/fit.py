"""What a training leaves behind, whichever way it was done, and where it keeps its state. No TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cxray.model.history import Epoch


class Trained(Protocol):
    """A trained network as `assemble` needs it.

    `weights` is "imagenet" or "none", as really loaded; `head` is "pooled_linear" when the logits are a linear function
    of the globally averaged feature map (so that class activation is exact), else "dense".
    """

    weights: str
    head: str

    def predict_logits(self, films: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits (n, K) of films float32 (n, height, width, 1), 0–1, as the finished network gives them."""
        ...

    def divide_logits(self, temperature: float) -> None:
        """Fold a temperature (Guo et al. 2017) into the last layer, so that every exported form is calibrated alike."""
        ...

    def save(self, folder: Path) -> None:
        """Write the bundle's graph into `folder`, and what else this kind of network can leave for later exports."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that trained it."""
        ...


@dataclasses.dataclass(frozen=True)
class Fit:
    """A trained network with its best weights, and how it got there; `members` networks were averaged into it."""

    network: Trained
    history: tuple[Epoch, ...]
    best: Epoch | None
    interrupted: bool
    devices: int
    known: Known | None = None
    members: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What a training has computed already and the bundle needs again, so that no film takes the road twice.

    `training_features` (n, F) are the pooled features of the training films, `validation_logits` (m, K) the network's
    answers for the validation films before any temperature; both float32, in the order of the films.
    """

    training_features: npt.NDArray[np.float32]
    validation_logits: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Workplace:
    """Where a run keeps its state: `folder` is the run; `fingerprint` names recipe, seed and films."""

    folder: Path
    fingerprint: str
    resume: bool = False
    tensorboard: bool = False

    @property
    def checkpoint(self) -> Path:
        """The state of the unfinished run."""
        return self.folder / "checkpoint" / "state.npz"


def describe_epoch(row: Epoch) -> str:
    """One line about one epoch, for the person who waits."""
    return (
        f"epoch {row.epoch} ({row.stage}): loss {row.train_loss:.4f}, accuracy {row.train_accuracy:.4f} | "
        f"validation loss {row.validation_loss:.4f}, accuracy {row.validation_accuracy:.4f}, "
        f"AUROC {row.validation_auroc:.4f} | {row.films_per_second:.0f} films/s, {row.seconds:.0f} s"
    )
