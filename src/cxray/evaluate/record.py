"""The atom of every judgement: one number with its interval, its method and its assumptions, or the reason
it is withheld.

`Estimate` is what a pure function of arrays returns. `Record` is an estimate with its name, its class and
the counts it rests on; it is what reaches `evaluation.json`. Both refuse NaN, infinity and limits that do
not enclose the value, so a false number cannot travel further than the line that made it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]

LEVEL = 0.95
# Limits are found by root search or by rounding formulas; more than this outside the value is a mistake, not
# rounding.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval (`low`, `high`, both None when no interval is honest), or `withheld`, the
    reason why not.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    withheld: str = ""
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.withheld):
            raise ValueError(f"An estimate has either a value or a reason, got {self.value!r} and {self.withheld!r}.")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"An interval has two limits, got {self.low!r} and {self.high!r}.")
        _check_limits(self.value, self.low, self.high)

    def noting(self, *assumptions: str) -> Estimate:
        """The same estimate with further assumptions; empty texts and repetitions are skipped."""
        extra = tuple(dict.fromkeys(text for text in assumptions if text and text not in self.assumptions))
        return dataclasses.replace(self, assumptions=self.assumptions + extra)


def withhold(reason: str, method: str = "") -> Estimate:
    """An estimate that is not given, with the reason as a whole sentence."""
    return Estimate(None, method=method, withheld=reason)


def estimate(value: float, low: float, high: float, method: str) -> Estimate:
    """An estimate from plain numbers; limits that rounding left on the wrong side of the value are moved to
    it.
    """
    value, low, high = float(value), float(low), float(high)
    if abs(low - value) < _ROUNDING:
        low = min(low, value)
    if abs(high - value) < _ROUNDING:
        high = max(high, value)
    return Estimate(value, low, high, method)


def numbers(values: Iterable[float | None]) -> Floats:
    """A column of a table from values that may be absent, which become NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One line of `evaluation.json`.

    `label` is the class or finding, "" for the whole table; `slice` is "" for all films, else `column=value`.
    `value`, `low` and `high` are None when `withheld` gives a reason; `low` and `high` alone are None when
    the value stands but no interval is honest (an assumption says why). `level` is the confidence level in
    0–1, `n_images` and `n_patients` count what the number rests on; `n_patients` is 0 when patients are
    unknown. `role` is "primary", "secondary" or "exploratory" under a protocol, "" without one.
    """

    name: str
    label: str = ""
    slice: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    method: str = ""
    n_images: int = 0
    n_patients: int = 0
    withheld: str = ""
    assumptions: tuple[str, ...] = ()
    role: str = ""

    def __post_init__(self) -> None:
        Estimate(self.value, self.low, self.high, self.method, self.withheld)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON takes it, keys in the order of the contract."""
        return {**dataclasses.asdict(self), "assumptions": list(self.assumptions)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Record:
        """The inverse of `to_dict`; unknown keys are ignored so that older versions read newer files."""
        known = {field.name for field in dataclasses.fields(cls)}
        kept = {key: item for key, item in value.items() if key in known}
        return cls(**{**kept, "assumptions": tuple(kept.get("assumptions", ()))})


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What the records of one question share: class, slice, level and the counts behind them."""

    label: str = ""
    slice: str = ""
    level: float = LEVEL
    n_images: int = 0
    n_patients: int = 0
    assumptions: tuple[str, ...] = ()

    def record(self, name: str, found: Estimate) -> Record:
        """The estimate as a record of this context."""
        found = found.noting(*self.assumptions)
        return Record(
            name=name,
            label=self.label,
            slice=self.slice,
            value=found.value,
            low=found.low,
            high=found.high,
            level=self.level,
            method=found.method,
            n_images=self.n_images,
            n_patients=self.n_patients,
            withheld=found.withheld,
            assumptions=found.assumptions,
        )


def _check_limits(value: float | None, low: float | None, high: float | None) -> None:
    for number in (value, low, high):
        if number is not None and not math.isfinite(number):
            raise ValueError(f"A record holds finite numbers, got {number!r}; withhold it instead.")
    if value is None and low is not None:
        raise ValueError("A withheld value cannot have an interval.")
    if value is not None and low is not None and high is not None and not low <= value <= high:
        raise ValueError(f"The interval {low!r} to {high!r} does not enclose {value!r}.")
