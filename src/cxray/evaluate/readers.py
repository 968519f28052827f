"""Readers: how well they agree, and whether a second reading mode is better when readers and cases are both samples.

Cohen's and Fleiss' kappa judge the reference standard; the multi-reader multi-case analysis (MRMC) compares two or more
modes, for example without and with the model. Sources: Cohen 1960; Fleiss 1971; Obuchowski & Rockette 1995 with Hillis'
degrees of freedom (Hillis 2007, Statistics in Medicine 26:596); covariances after DeLong 1988.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError
from cxray.evaluate.ranking import delong_covariance
from cxray.evaluate.record import LEVEL, Codes, Flags, Floats


def cohen_kappa(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> float:
    """Agreement of two readers beyond chance (films,): 1 is perfect, 0 chance; NaN when only one word occurs."""
    names = np.unique(np.concatenate([first, second]))
    shares = [np.array([(reader == name).mean() for name in names]) for reader in (first, second)]
    expected = float(shares[0] @ shares[1])
    return float("nan") if expected == 1 else (float((first == second).mean()) - expected) / (1 - expected)


def fleiss_kappa(counts: npt.NDArray[np.integer]) -> float:
    """Agreement of several readers beyond chance; `counts` (films, categories), each row adding up to the readers.

    Raises:
        DataError: rows with different numbers of readers, or fewer than two readers.
    """
    readers = counts.sum(axis=1)
    if readers.min() != readers.max() or readers[0] < 2:
        raise DataError("Fleiss' kappa needs the same number of readers, at least two, for every film.")
    number = float(readers[0])
    observed = float(((counts.astype(np.float64) ** 2).sum(axis=1) - number).mean()) / (number * (number - 1))
    shares = counts.sum(axis=0) / counts.sum()
    expected = float((shares**2).sum())
    return float("nan") if expected == 1 else (observed - expected) / (1 - expected)


@dataclasses.dataclass(frozen=True)
class ReaderStudy:
    """An MRMC analysis of one fixed factor (the mode) with random readers and cases.

    `areas` (modes, readers) are AUROCs. `difference` is the mean AUROC of the first mode minus the second, with limits
    `low` and `high`; `f`, `degrees_of_freedom` (of the denominator) and `p` test that all modes are equal.
    """

    areas: Floats
    difference: float
    low: float
    high: float
    f: float
    degrees_of_freedom: float
    p: float
    mean_square_mode: float
    mean_square_mode_reader: float


def multi_reader(scores: Floats, is_positive: Flags, patient: Codes, level: float = LEVEL) -> ReaderStudy:
    """Obuchowski-Rockette-Hillis analysis of `scores` (modes, readers, films): every reader read every film in each
    mode.

    Raises:
        DataError: fewer than two modes or two readers, or a class without films.
    """
    modes, readers, films = scores.shape
    if modes < 2 or readers < 2 or is_positive.all() or not is_positive.any():
        raise DataError("A reader study needs two modes, two readers and films of both classes.")
    values, covariance = delong_covariance(scores.reshape(modes * readers, films).T, is_positive, patient)
    areas = values.reshape(modes, readers)
    by_mode, by_reader = areas.mean(axis=1), areas.mean(axis=0)
    square_mode = readers * float(by_mode.var(ddof=1))
    residual = areas - by_mode[:, None] - by_reader[None, :] + areas.mean()
    square_mode_reader = float((residual**2).sum()) / ((modes - 1) * (readers - 1))
    same_mode, other_both = _covariances(covariance, modes, readers)
    excess = readers * max(same_mode - other_both, 0.0)
    return _hillis(areas, square_mode, square_mode_reader, excess, level)


def _covariances(covariance: Floats, modes: int, readers: int) -> tuple[float, float]:
    """Mean covariance of different readers in the same mode, and of different readers in different modes."""
    mode = np.repeat(np.arange(modes), readers)
    reader = np.tile(np.arange(readers), modes)
    other_reader = reader[:, None] != reader[None, :]
    same = mode[:, None] == mode[None, :]
    return float(covariance[same & other_reader].mean()), float(covariance[~same & other_reader].mean())


def _hillis(areas: Floats, square_mode: float, square_mode_reader: float, excess: float, level: float) -> ReaderStudy:
    from scipy.special import fdtrc, stdtrit

    modes, readers = areas.shape
    denominator = square_mode_reader + excess
    if denominator <= 0:
        raise DataError("All readers have the same AUROC in every mode, so there is no spread to judge by.")
    inner = square_mode_reader**2 / ((modes - 1) * (readers - 1))
    # Without reader-by-mode spread the denominator is known exactly; a large number stands for infinite freedom.
    freedom = denominator**2 / inner if inner > 0 else 1e9
    difference = float(areas[0].mean() - areas[1].mean())
    half = float(stdtrit(freedom, 0.5 + level / 2)) * math.sqrt(2 / readers * denominator)
    f = square_mode / denominator
    return ReaderStudy(
        areas=areas,
        difference=difference,
        low=difference - half,
        high=difference + half,
        f=f,
        degrees_of_freedom=freedom,
        p=float(fdtrc(modes - 1, freedom, f)),
        mean_square_mode=square_mode,
        mean_square_mode_reader=square_mode_reader,
    )
