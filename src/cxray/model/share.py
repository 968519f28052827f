"""Which part of every batch one of several equal workers takes. No TensorFlow.

The parts of a batch lie side by side, worker 0 first, and are of equal size, so that the mean of the workers' mean
losses is the mean over the batch. Of a last batch that the workers cannot share evenly, the last films are left out:
fewer than there are workers, and others in every epoch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Share:
    """Worker `rank` (from 0) of `workers`."""

    rank: int = 0
    workers: int = 1

    def even(self, order: npt.NDArray[np.int64], batch_size: int) -> npt.NDArray[np.int64]:
        """`order`, positions (N,) of films, without the last films that make its last batch uneven."""
        left_out = (len(order) % batch_size) % self.workers
        return order[: len(order) - left_out]

    def steps(self, films: int, batch_size: int) -> int:
        """How many batches an epoch of `films` films has for this worker, and for every other."""
        return -(-(films - (films % batch_size) % self.workers) // batch_size)

    def bounds(self, rows: Any) -> tuple[Any, Any]:
        """First and behind-last of this worker's rows in a batch of `rows`, a number or a tensor."""
        part = rows // self.workers
        return self.rank * part, (self.rank + 1) * part


WHOLE = Share()
