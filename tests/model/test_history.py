"""What the curves say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cxray.model.history import Epoch, describe_overfitting, is_better, read_history, write_history

EPOCH = Epoch(1, "all", 0.5, 0.8, 0.5, 0.8, 0.9, 1e-3, 10.0, 50.0)


def epochs(*rows: tuple[float, float, float, float]) -> list[Epoch]:
    """Rows of train loss, train accuracy, validation loss, validation accuracy."""
    return [Epoch(n + 1, "all", a, b, c, d, 0.9, 1e-3, 1.0, 1.0) for n, (a, b, c, d) in enumerate(rows)]


def test_round_trip(tmp_path: Path) -> None:
    rows = [EPOCH, dataclasses.replace(EPOCH, epoch=2, validation_auroc=0.123456789012345)]
    write_history(tmp_path / "history.csv", rows)
    assert read_history(tmp_path / "history.csv") == rows


@pytest.mark.parametrize(("accuracy", "named"), [(0.94, True), (0.96, False)])
def test_a_gap_between_training_and_validation_accuracy_is_named(accuracy: float, named: bool) -> None:
    text = describe_overfitting(epochs((0.5, 0.8, 0.5, 0.8), (0.3, 0.9, 0.4, 0.85), (0.1, 0.99 + 0.005, 0.4, accuracy)))
    assert ("The curves show overfitting" in text) is named
    assert ("model.dropout=0.5" in text) is named


def test_a_rising_validation_loss_is_named_even_without_a_gap() -> None:
    text = describe_overfitting(epochs((0.5, 0.8, 0.5, 0.8), (0.3, 0.9, 0.30, 0.93), (0.1, 0.95, 0.4, 0.94)))
    assert "validation loss was lowest (0.300) in epoch 2 and ended at 0.400" in text


def test_what_the_last_step_mended_needs_no_remedy() -> None:
    rows = epochs((0.5, 0.8, 0.5, 0.8), (0.3, 0.9, 0.3, 0.9), (0.1, 0.99, 0.4, 0.87), (0.1, 0.98, 0.1, 0.97))
    mended = [*rows[:3], dataclasses.replace(rows[3], stage="interpolated")]
    text = describe_overfitting(mended)
    assert text.startswith(
        "Overfitting came and went: after 3 epochs training accuracy is 99.0%, validation accuracy 87.0%"
    )
    assert text.endswith("and a new head training accuracy is 98.0%, validation accuracy 97.0%.")
    still = [*rows[:3], dataclasses.replace(rows[3], stage="interpolated", validation_accuracy=0.9)]
    assert "The curves show overfitting" in describe_overfitting(still)
    findings = [dataclasses.replace(row, train_accuracy=float("nan"), validation_loss=loss)
                for row, loss in zip(mended, (0.5, 0.3, 0.4, 0.1), strict=True)]  # fmt: skip
    assert describe_overfitting(findings).endswith("and a new head training loss is 0.100, validation loss 0.100.")


def test_nothing_is_said_of_two_epochs() -> None:
    assert describe_overfitting(epochs((0.5, 0.8, 0.5, 0.8), (0.1, 1.0, 0.9, 0.5))) == ""


def test_better_means_larger_auroc_smaller_loss_and_never_nan() -> None:
    more = dataclasses.replace(EPOCH, validation_auroc=0.91, validation_loss=0.6)
    assert is_better(more, EPOCH, "validation_auroc")
    assert not is_better(more, EPOCH, "validation_loss")
    assert not is_better(EPOCH, EPOCH, "validation_auroc")
    assert not is_better(dataclasses.replace(EPOCH, validation_auroc=float("nan")), None, "validation_auroc")


def test_monitor_last_keeps_even_a_worse_or_undefined_epoch() -> None:
    worse = dataclasses.replace(EPOCH, validation_auroc=float("nan"), validation_loss=9.0)
    assert is_better(worse, EPOCH, "last")
