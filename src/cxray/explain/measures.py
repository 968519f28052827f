"""From single films to measured tests: means over patients with intervals, beside what chance would give.

Every test takes films of different patients, so films are independent here. A test has a bar that was fixed before any
model was measured; `passed` is None where there were too few films to say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxray.evaluate.clusters import LEAST_PATIENTS
from cxray.evaluate.intervals import wilson

Values = npt.NDArray[np.float64]
LEVEL = 0.95
_NULL_DRAWS = 2000


@dataclasses.dataclass(frozen=True)
class Null:
    """What a map that knows nothing gets, averaged over the same films: mean and central 95 % of `draws` draws."""

    mean: float
    low: float
    high: float
    draws: int


@dataclasses.dataclass(frozen=True)
class Measure:
    """One test of a model's maps.

    `value` with its 95 % interval `low`–`high`, or None with the reason `withheld`. `bar` says in words what was
    asked, `passed` whether it was reached; None where nothing was asked or nothing can be said. `decides`: whether
    maps are hidden when the bar is missed. `films` counts films, each of another patient.
    """

    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    null: Null | None
    bar: str
    passed: bool | None
    decides: bool
    films: int
    method: str
    withheld: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The measure as JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Measure:
        """Read back what `to_dict` gave."""
        null = Null(**table["null"]) if table["null"] else None
        return cls(**{**table, "null": null})


@dataclasses.dataclass(frozen=True)
class MapTest:
    """What is asked of a measure: its name, its words, and its bar.

    `at_least` must be reached by the lower limit, `at_most` by the upper one; `above` means strictly more than
    `at_least`, as a difference from chance must be. `alarm` is for findings about a model: they are raised only when
    even the lower limit is above it. With all of them None nothing is asked.
    """

    name: str
    title: str
    method: str
    decides: bool = True
    at_least: float | None = None
    at_most: float | None = None
    above: bool = False
    alarm: float | None = None

    @property
    def bar(self) -> str:
        """The bar in words."""
        if self.at_least is not None:
            return f"lower limit {'above' if self.above else 'at least'} {self.at_least:g}"
        if self.alarm is not None:
            return f"reported when the lower limit is above {self.alarm:g}"
        return f"upper limit at most {self.at_most:g}" if self.at_most is not None else ""

    def judge(self, low: float, high: float) -> bool | None:
        """Whether an interval reaches the bar."""
        if self.at_least is not None:
            return low > self.at_least if self.above else low >= self.at_least
        if self.alarm is not None:
            return low <= self.alarm
        return high <= self.at_most if self.at_most is not None else None

    def mean(self, values: Values, nulls: Values | None = None) -> Measure:
        """The mean of one value a film (n,), with a t interval; `nulls` (n, r) are r chance values of each film.

        Films without a value (NaN) are left out and counted in the method.
        """
        known = ~np.isnan(values)
        if known.sum() < LEAST_PATIENTS:
            return self.without(int(known.sum()), f"only {int(known.sum())} films with a value; 10 are needed")
        kept = values[known]
        half = float(stats.t.ppf((1 + LEVEL) / 2, kept.size - 1) * kept.std(ddof=1) / np.sqrt(kept.size))
        value = float(kept.mean())
        skipped = f"; {int((~known).sum())} films without a value" if not known.all() else ""
        null = None if nulls is None else null_of(nulls[known])
        return self._measured(value, (value - half, value + half), null, kept.size, skipped)

    def rate(self, hits: npt.NDArray[np.bool_], nulls: Values | None = None) -> Measure:
        """The share of films (N,) that hit, with a Wilson interval; the bar may be the null's own upper limit."""
        if hits.size < LEAST_PATIENTS:
            return self.without(hits.size, f"only {hits.size} films; {LEAST_PATIENTS} are needed")
        null = None if nulls is None else null_of(nulls)
        return self._measured(float(hits.mean()), wilson(int(hits.sum()), hits.size), null, hits.size, "")

    def ratio(self, numerator: Values, denominator: Values) -> Measure:
        """Sum of `numerator` over sum of `denominator`, one value a film each, with a bootstrap interval."""
        if numerator.size < LEAST_PATIENTS:
            return self.without(numerator.size, f"only {numerator.size} pairs of films; {LEAST_PATIENTS} are needed")
        if denominator.sum() <= 0:
            return self.without(numerator.size, "the model does not tell the classes of these films apart")
        rows = np.random.default_rng(0).integers(0, numerator.size, (_NULL_DRAWS, numerator.size))
        draws = numerator[rows].sum(axis=1) / denominator[rows].sum(axis=1)
        low, high = (float(limit) for limit in np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
        return self._measured(float(numerator.sum() / denominator.sum()), (low, high), None, numerator.size, "")

    def known(self, value: float, limits: tuple[float, float], films: int) -> Measure:
        """A value whose interval was computed elsewhere."""
        return self._measured(value, limits, None, films, "")

    def without(self, films: int, reason: str) -> Measure:
        """No value, for a reason."""
        return Measure(
            self.name, self.title, None, None, None, None, self.bar, None, self.decides, films, self.method, reason
        )

    def _measured(self, value: float, limits: tuple[float, float], null: Null | None, films: int, note: str) -> Measure:
        low, high = limits
        passed = self.judge(low, high)
        method = self.method + note
        return Measure(self.name, self.title, value, low, high, null, self.bar, passed, self.decides, films, method)


def null_of(nulls: Values) -> Null:
    """The distribution of a mean over films when each film takes one of its own chance values (n, r)."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, nulls.shape[1], (_NULL_DRAWS, len(nulls)))
    means = np.nanmean(nulls[np.arange(len(nulls)), picks], axis=1)
    low, high = np.nanquantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Null(float(np.nanmean(means)), float(low), float(high), _NULL_DRAWS)
