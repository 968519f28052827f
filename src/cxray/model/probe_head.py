"""L2-regularised logistic regression on standardised features: classes by softmax, findings by a sigmoid each.

The solver is SciPy's L-BFGS (Liu and Nocedal 1989); only the objective is written here, because findings may be
unknown (NaN) and films carry weights. Standardisation is folded into the result.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import numpy.typing as npt

from cxray.model.films import positive_weights
from cxray.model.history import Epoch
from cxray.model.measures import accuracy, mean_auroc
from cxray.runtime.cross_entropy import loss_and_slope

Matrix = npt.NDArray[np.float32]
_ITERATIONS = 100
# Relative gain in loss below which another step is not worth its time.
_TOLERANCE = 1e-6
# A feature that never varies would be divided by 0.
_SMALLEST_DEVIATION = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """logits (n, K) = features (n, F) @ `weights` (F, K) + `bias` (K,), float64."""

    weights: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def logits(self, features: Matrix) -> Matrix:
        """float32 (n, K)."""
        return np.asarray(features @ self.weights.astype(np.float32) + self.bias.astype(np.float32), dtype=np.float32)

    def divided(self, temperature: float) -> Head:
        """The head whose logits are these, divided by `temperature`."""
        return Head(self.weights / temperature, self.bias / temperature)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What shall be learned: `features` (n, F), `targets` (n,) or (n, K), and how much each cell of the loss counts.

    `cell_weights` is (n,) for classes and (n, K) for findings, where an unknown finding counts 0; they sum to 1.
    """

    features: Matrix
    standardised: Matrix
    targets: npt.NDArray[np.float64]
    wanted: npt.NDArray[np.float64]
    cell_weights: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, features: Matrix, targets: npt.NDArray[np.float64], film_weights: Matrix, outputs: int, balanced: bool
    ) -> Problem:
        """Lay out targets as the loss wants them. `balanced` raises the weight of rare findings; classes carry theirs
        in `film_weights` (n,) already."""
        if targets.ndim == 1:
            wanted = np.eye(outputs)[targets.astype(np.int64)]
            cells = np.asarray(film_weights, dtype=np.float64)
        else:
            known = ~np.isnan(targets)
            wanted = np.where(known, targets, 0.0)
            rare = positive_weights(targets.astype(np.float32)) if balanced else np.ones(outputs)
            cells = known * (1 + wanted * (rare - 1)) * film_weights[:, None]
        mean = features.mean(axis=0, dtype=np.float64)
        deviation = np.maximum(features.std(axis=0, dtype=np.float64), _SMALLEST_DEVIATION)
        standardised = (features - mean.astype(np.float32)) / deviation.astype(np.float32)
        return cls(features, standardised, targets, wanted, cells / max(cells.sum(), 1e-12), mean, deviation)

    @classmethod
    def plain(cls, features: Matrix, targets: npt.NDArray[np.float64], outputs: int) -> Problem:
        """Films to judge by, where every one counts the same; `features` (n, F), `targets` (n,) or (n, K)."""
        return cls.of(features, targets, np.ones(len(targets), np.float32), outputs, balanced=False)

    @property
    def outputs(self) -> int:
        """K."""
        return int(self.wanted.shape[1])

    def start(self) -> Head:
        """The head that knows nothing."""
        return Head(np.zeros((self.features.shape[1], self.outputs)), np.zeros(self.outputs))

    def loss(self, head: Head) -> float:
        """Weighted mean cross-entropy, without the penalty."""
        return self.loss_and_slope(head.logits(self.features).astype(np.float64))[0]

    def loss_and_slope(self, logits: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """The loss and its derivative by the logits (n, K)."""
        return loss_and_slope(logits, self.wanted, self.cell_weights)


def solve(problem: Problem, penalty: float, start: Head) -> Head:
    """Minimise loss + `penalty`/2 · |w|² over standardised weights, beginning at `start`; the bias is not penalised."""
    from scipy.optimize import minimize

    features, spread = problem.standardised, _spread(problem)
    doubled = float(spread[0] @ spread[0])
    shape = (features.shape[1] + 1, len(spread))

    def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        table = flat.reshape(shape)
        weights, bias = table[:-1], table[-1]
        loss, by_logit = problem.loss_and_slope((features @ weights.astype(np.float32) + bias) @ spread)
        slope = by_logit @ spread.T
        gradient = np.vstack([features.T @ slope.astype(np.float32) + doubled * penalty * weights, slope.sum(axis=0)])
        return loss + doubled * penalty / 2 * float((weights**2).sum()), gradient.ravel()

    first = np.vstack([start.weights * problem.deviation[:, None], start.bias + problem.mean @ start.weights])
    limits = {"maxiter": _ITERATIONS, "ftol": _TOLERANCE}
    from_here = (first @ spread.T / doubled).ravel()
    found = minimize(objective, from_here, jac=True, method="L-BFGS-B", options=limits)
    table = np.asarray(found.x).reshape(shape) @ spread
    weights = table[:-1] / problem.deviation[:, None]
    return Head(weights, table[-1] - problem.mean @ weights)


def history_row(
    head: Head, problem: Problem, held_out: Problem, *, epoch: int, stage: str, started: float, rate: float
) -> Epoch:
    """What a head does on its films and on held-out ones; `started` as `time.perf_counter` gave it."""
    fitted, logits = head.logits(problem.features), head.logits(held_out.features)
    return Epoch(
        epoch=epoch,
        stage=stage,
        train_loss=problem.loss(head),
        train_accuracy=accuracy(fitted, problem.targets),
        validation_loss=held_out.loss(head),
        validation_accuracy=accuracy(logits, held_out.targets),
        validation_auroc=mean_auroc(logits, held_out.targets),
        learning_rate=float("nan"),
        seconds=time.perf_counter() - started,
        films_per_second=rate,
    )


def _spread(problem: Problem) -> npt.NDArray[np.float64]:
    """How the columns that are solved for become the K logits, (columns, K).

    Of two classes one column says all, with opposite signs in the two logits: at the optimum the penalty makes them
    equal but for the sign, and a matrix of one column is multiplied several times faster than one of two.
    """
    if problem.cell_weights.ndim == 1 and problem.outputs == 2:
        return np.array([[-1.0, 1.0]])
    return np.eye(problem.outputs)
