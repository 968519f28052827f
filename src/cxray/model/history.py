"""What happened epoch by epoch, and what it means. No TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxray.tables import as_numbers, read_table, write_table

OVERFIT_GAP = 0.05


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One pass over the training films. Accuracy is a fraction; losses are per film; `seconds` includes validation."""

    epoch: int
    stage: str
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_auroc: float
    learning_rate: float
    seconds: float
    films_per_second: float


_NUMBERS = [field.name for field in dataclasses.fields(Epoch) if field.name not in ("epoch", "stage")]


def write_history(path: Path, epochs: Sequence[Epoch]) -> None:
    """Write `history.csv`: one row an epoch, the fields of `Epoch` as columns."""
    columns = {name: np.array([float(getattr(e, name)) for e in epochs]) for name in _NUMBERS}
    head = {
        "epoch": np.array([e.epoch for e in epochs], dtype=np.int64),
        "stage": np.array([e.stage for e in epochs], dtype=object),
    }
    write_table(path, {**head, **columns})


def read_history(path: Path) -> list[Epoch]:
    """Read `history.csv` back."""
    table = read_table(path)
    numbers = {name: as_numbers(table[name], name=name, source=path) for name in _NUMBERS}
    return [
        Epoch(int(table["epoch"][row]), str(table["stage"][row]), **{n: float(v[row]) for n, v in numbers.items()})
        for row in range(len(table["epoch"]))
    ]


def is_better(candidate: Epoch, best: Epoch | None, monitor: str) -> bool:
    """Whether `candidate` improves on `best`: larger AUROC or accuracy, smaller loss; an undefined value never does.

    Monitor "last" keeps every later epoch.
    """
    if monitor == "last":
        return True
    value = float(getattr(candidate, monitor))
    if np.isnan(value):
        return False
    if best is None:
        return True
    sign = -1 if monitor.endswith("loss") else 1
    return sign * value > sign * float(getattr(best, monitor))


def best_of(epochs: Sequence[Epoch], monitor: str) -> Epoch | None:
    """The epoch that `is_better` keeps; None when none has a defined value."""
    best: Epoch | None = None
    for epoch in epochs:
        best = epoch if is_better(epoch, best, monitor) else best
    return best


def mean_history(histories: Sequence[Sequence[Epoch]]) -> list[Epoch]:
    """The mean of several trainings, epoch by epoch, as far as all of them went; `seconds` are added up."""
    rows = []
    for together in zip(*histories, strict=False):
        means = {name: float(np.mean([getattr(row, name) for row in together])) for name in _NUMBERS}
        seconds = float(sum(row.seconds for row in together))
        rows.append(dataclasses.replace(together[0], **{**means, "seconds": seconds}))
    return rows


def describe_overfitting(epochs: Sequence[Epoch]) -> str:
    """One sentence on what the curves show, "" when there are fewer than three epochs.

    Overfitting is named when, at the end, training accuracy stands `OVERFIT_GAP` above validation accuracy, or when
    validation loss has risen by a tenth from its lowest point while training loss went on falling. Where the network
    was changed after its last epoch and overfits no more, that is said instead of a remedy.
    """
    tuned = [epoch for epoch in epochs if epoch.stage == "all"]
    if len(tuned) < 3:
        return ""
    last = tuned[-1]
    lowest = min(tuned, key=lambda epoch: epoch.validation_loss)
    gap = last.train_accuracy - last.validation_accuracy
    rose = last.validation_loss > 1.1 * lowest.validation_loss and last.train_loss < lowest.train_loss
    reached = _reached(last)
    if not gap >= OVERFIT_GAP and not rose:
        return f"No overfitting is visible: after {last.epoch} epochs {reached}."
    kept = epochs[-1]
    gap_is_left = kept.train_accuracy - kept.validation_accuracy >= OVERFIT_GAP
    if kept.stage != "all" and not gap_is_left and kept.validation_loss < last.validation_loss:
        return (
            f"Overfitting came and went: after {last.epoch} epochs {reached}; with the pre-trained weights that came "
            f"back and a new head {_reached(kept)}."
        )
    return (
        f"The curves show overfitting: after {last.epoch} epochs {reached}, and validation loss was lowest "
        f"({lowest.validation_loss:.3f}) in epoch {lowest.epoch} and ended at {last.validation_loss:.3f}. A remedy one "
        "setting away: --set model.dropout=0.5"
    )


def _reached(row: Epoch) -> str:
    if np.isnan(row.train_accuracy):  # findings have no training accuracy
        return f"training loss is {row.train_loss:.3f}, validation loss {row.validation_loss:.3f}"
    return f"training accuracy is {row.train_accuracy:.1%}, validation accuracy {row.validation_accuracy:.1%}"
