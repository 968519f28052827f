"""The bar of one epoch: loss, best validation AUROC, throughput and the time left for the whole run."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras

from cxray.model.history import Epoch

_QUIET_SECONDS = 60.0


class EpochBar(keras.callbacks.Callback):
    """A tqdm bar on a terminal, a line a minute elsewhere."""

    def __init__(self, epoch: int, epochs: int, films: int, batch_size: int, best: Epoch | None) -> None:
        super().__init__()
        self.epoch, self.epochs, self.films, self.batch_size, self.best = epoch, epochs, films, batch_size, best
        self.bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Open the bar."""
        self.started = self.said = time.monotonic()
        self.done = 0
        if sys.stderr.isatty():
            from tqdm import tqdm

            title = f"epoch {self.epoch + 1}/{self.epochs}"
            self.bar = tqdm(total=self.films, desc=title, unit="film", leave=False)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance, with the running loss."""
        films = min(self.batch_size, self.films - self.done)
        self.done += films
        if self.bar is not None:
            self.bar.set_postfix_str(self._facts(logs or {}), refresh=False)
            self.bar.update(films)
        elif time.monotonic() - self.said > _QUIET_SECONDS:
            self.said = time.monotonic()
            print(f"epoch {self.epoch + 1}/{self.epochs}: {self.done} of {self.films} films, {self._facts(logs or {})}",
                  file=sys.stderr, flush=True)  # fmt: skip

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Close the bar; the loop prints the line that stays."""
        if self.bar is not None:
            self.bar.close()

    def _facts(self, logs: dict[str, Any]) -> str:
        rate = self.done / max(1e-9, time.monotonic() - self.started)
        left = (self.films * (self.epochs - self.epoch) - self.done) / max(1e-9, rate)
        best = f", best validation AUROC {self.best.validation_auroc:.4f}" if self.best else ""
        loss = float(logs.get("loss", float("nan")))
        return f"loss {loss:.3f}{best}, {rate:.0f} films/s, run ends in {left / 60:.1f} min"
