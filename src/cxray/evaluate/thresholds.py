"""Operating points: rules for choosing a threshold, and the threshold with its birth certificate.

A `Policy` is a rule; `choose` applies it to a validation table and gives a `Threshold` that carries the
policy, the split and the SHA-256 of that table. Choosing on a table whose split is `test` is an error,
always. A film is called positive when its score is at least the threshold. Pure numpy and scipy, so a bundle
may use it anywhere.

Between two neighbouring scores every threshold decides alike, so the midpoint on the logit scale is taken:
the threshold is not glued to one film. Among cuts that a policy holds equal, one that buys fewer false
alarms without losing a case, or finds more cases without a false alarm, wins; nearly separable scores thus
get a threshold in the gap between the classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError, SealedTestError, UsageError
from cxray.evaluate import clusters
from cxray.evaluate.record import Flags, Floats

# Softmax in float32 cannot say more than this, so scores of exactly 0 or 1 are placed here on the logit
# scale.
FLOAT32_RESOLUTION = 2.0**-24


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """A rule for choosing a threshold, written `name` or `name:target`, for example
    `target_sensitivity:0.95`.

    | name | target | what is chosen |
    |---|---|---|
    | youden | none | the largest sensitivity + specificity |
    | target_sensitivity | 0–1 | the highest threshold that still reaches it |
    | target_specificity | 0–1 | the lowest threshold that still reaches it |
    | target_ppv | 0–1 | the lowest threshold from which on it is reached |
    | cost_ratio | > 0 | the least cost when a miss costs `target` false alarms |
    | net_benefit | 0–1 | the largest net benefit at that threshold probability (Vickers & Elkin 2006) |
    | guaranteed_sensitivity | 0–1 | the highest threshold whose exact lower bound, with `confidence`,
    reaches it |
    """

    name: str
    target: float | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.name not in _RULES:
            raise UsageError(
                f"There is no threshold policy {self.name!r}.", f"Use one of: {', '.join(sorted(_RULES))}."
            )
        upper = _UPPER[self.name]
        if upper is None:
            if self.target is not None:
                raise UsageError(f"The policy {self.name!r} takes no target, got {self.target:g}.")
        elif self.target is None or not 0 < self.target < upper:
            reach = "above 0" if math.isinf(upper) else "between 0 and 1"
            raise UsageError(
                f"The policy {self.name!r} needs a target {reach}, got {self.target}.",
                f"Write it after a colon, for example {self.name}:{'5' if math.isinf(upper) else '0.95'}.",
            )
        if not 0.5 < self.confidence < 1:
            raise UsageError(f"Confidence must lie between 0.5 and 1, got {self.confidence:g}.")

    def __str__(self) -> str:
        return self.name if self.target is None else f"{self.name}:{self.target:g}"

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read `name` or `name:target`.

        Raises:
            UsageError: no such policy, or a target that cannot be meant.
        """
        name, _, target = text.strip().partition(":")
        try:
            return cls(name.strip().replace("-", "_"), float(target) if target else None)
        except ValueError:
            raise UsageError(f"The target of a policy must be a number, got {target!r} in {text!r}.") from None


@dataclasses.dataclass(frozen=True, slots=True)
class Threshold:
    """A chosen operating point and where it came from.

    `value` is on the scale of the scores (0–1). `n_positive` and `n_negative` count the films it was chosen
    on, and `table_sha256` names their table; `note` says what a reader must know.
    """

    value: float
    policy: str
    split: str
    table_sha256: str
    n_positive: int = 0
    n_negative: int = 0
    sensitivity: float | None = None
    specificity: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The threshold as JSON takes it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Threshold:
        """The inverse of `to_dict`; unknown keys are ignored.

        Raises:
            DataError: `value`, `policy`, `split` or `table_sha256` is missing.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            return cls(**{key: item for key, item in value.items() if key in known})
        except TypeError as error:
            raise DataError(f"A stored threshold lacks a part: {error}.", "Make the bundle again.") from error


DEFAULT_POLICY = "target_sensitivity:0.95"


def choose(
    policy: Policy | str,
    scores: Floats,
    is_positive: Flags,
    split: str,
    table_sha256: str,
    patient: npt.NDArray[Any] | None = None,
) -> Threshold:
    """Choose the threshold that `policy` asks for.

    `scores` are probabilities (films,), `is_positive` bool (films,). `patient` (films,), any values, is used
    by `guaranteed_sensitivity`, whose unit is then the patient: a patient counts as missed when any ill film
    is missed.

    Raises:
        SealedTestError: `split` is `test`, alone or joined with others (`test+validation`).
        DataError: a class is missing, a score is not a finite number, or the policy cannot be met on this
            table.
    """
    policy = Policy.parse(policy) if isinstance(policy, str) else policy
    if "test" in split.split("+"):
        raise SealedTestError(
            f"A threshold ({policy}) was about to be chosen on a table whose split is {split!r}.",
            "Choose it on the validation table; the test table only judges.",
        )
    scores = np.asarray(scores, dtype=np.float64)
    is_positive = np.asarray(is_positive, dtype=bool)
    _check(scores, is_positive, policy)
    table = _Cuts.of(scores, is_positive, clusters.codes(patient, len(scores)))
    cut = _RULES[policy.name](table, policy)
    note = "" if table.positives >= 20 else f"Chosen on only {table.positives} positive films; expect it to move."
    return Threshold(
        value=table.between(cut),
        policy=str(policy),
        split=split,
        table_sha256=table_sha256,
        n_positive=table.positives,
        n_negative=table.negatives,
        sensitivity=float(table.sensitivity[cut]),
        specificity=float(table.specificity[cut]),
        note=note,
    )


@dataclasses.dataclass(frozen=True)
class _Cuts:
    """All different ways to cut the films in two: cut k calls positive every film with a score of at least
    values[k].

    One more cut, the last, calls no film positive. `sensitivity` falls and `specificity` rises with k.
    """

    values: Floats
    sensitivity: Floats
    specificity: Floats
    positives: int
    negatives: int
    worst_of_patient: Floats

    @classmethod
    def of(cls, scores: Floats, is_positive: Flags, patient: npt.NDArray[np.int64]) -> _Cuts:
        values, place = np.unique(scores, return_inverse=True)
        ill = np.bincount(place[is_positive], minlength=values.size)
        healthy = np.bincount(place[~is_positive], minlength=values.size)
        missed = np.concatenate([[0], np.cumsum(ill)])
        cleared = np.concatenate([[0], np.cumsum(healthy)])
        worst = np.full(int(patient.max()) + 1, np.inf)
        np.minimum.at(worst, patient[is_positive], scores[is_positive])
        return cls(
            values=values,
            sensitivity=1 - missed / ill.sum(),
            specificity=cleared / healthy.sum(),
            positives=int(ill.sum()),
            negatives=int(healthy.sum()),
            worst_of_patient=np.sort(worst[np.isfinite(worst)]),
        )

    def between(self, cut: int) -> float:
        """The threshold of a cut: midway on the logit scale between its two neighbouring scores."""
        if cut == 0:
            return float(self.values[0])
        if cut == self.values.size:
            return float(np.nextafter(self.values[-1], np.inf))
        low, high = (_safe_logit(float(value)) for value in self.values[cut - 1 : cut + 1])
        middle = 1 / (1 + math.exp(-(low + high) / 2))
        # Rounding may land on the lower score, which the cut must exclude; the upper score decides alike.
        return middle if self.values[cut - 1] < middle <= self.values[cut] else float(self.values[cut])

    def best(self, merit: Floats) -> int:
        """The cut of largest merit; among equals the one with the highest sensitivity."""
        return int(np.flatnonzero(merit >= merit.max() - 1e-12)[0])


def _safe_logit(score: float) -> float:
    clipped = min(max(score, FLOAT32_RESOLUTION), 1 - FLOAT32_RESOLUTION)
    return math.log(clipped / (1 - clipped))


def _youden(cuts: _Cuts, policy: Policy) -> int:
    return cuts.best(cuts.sensitivity + cuts.specificity)


def _target_sensitivity(cuts: _Cuts, policy: Policy) -> int:
    # Not lowered further, even where validation shows no false alarm in between: under a shift of the healthy films
    # that gap is the first to fill, and the target is all that was asked for.
    return int(np.flatnonzero(cuts.sensitivity >= _target(policy) - 1e-12)[-1])


def _target_specificity(cuts: _Cuts, policy: Policy) -> int:
    return int(np.flatnonzero(cuts.specificity >= _target(policy) - 1e-12)[0])


def _target_ppv(cuts: _Cuts, policy: Policy) -> int:
    hits = cuts.sensitivity * cuts.positives
    alarms = (1 - cuts.specificity) * cuts.negatives
    called = hits + alarms
    ppv = np.divide(hits, called, out=np.ones_like(hits), where=called > 0.5)
    misses_target = np.flatnonzero(ppv < _target(policy) - 1e-12)
    first = int(misses_target[-1]) + 1 if misses_target.size else 0
    if hits[first] < 0.5:
        raise DataError(
            f"No threshold reaches a PPV of {policy.target:g} and still finds a case on this table.",
            "Lower the target, or choose another policy.",
        )
    return first


def _cost_ratio(cuts: _Cuts, policy: Policy) -> int:
    misses = (1 - cuts.sensitivity) * cuts.positives
    alarms = (1 - cuts.specificity) * cuts.negatives
    return cuts.best(-(_target(policy) * misses + alarms) / (cuts.positives + cuts.negatives))


def _net_benefit(cuts: _Cuts, policy: Policy) -> int:
    # At threshold probability p a miss weighs (1 - p) / p false alarms (Vickers & Elkin 2006, equation 1).
    return _cost_ratio(cuts, dataclasses.replace(policy, name="cost_ratio", target=1 / _target(policy) - 1))


def _guaranteed_sensitivity(cuts: _Cuts, policy: Policy) -> int:
    from cxray.evaluate.intervals import exact_lower_bound

    patients = cuts.worst_of_patient.size
    allowed = -1
    # Fixed-sequence testing from the lowest threshold up: the first failure ends the search (Angelopoulos et
    # al. 2021, Learn then Test), so the confidence needs no correction for the number of thresholds tried.
    while exact_lower_bound(patients - allowed - 1, patients, policy.confidence) >= _target(policy):
        allowed += 1
    if allowed < 0:
        raise DataError(
            f"{patients} positive patients cannot prove a sensitivity of {policy.target:g} with confidence "
            f"{policy.confidence:g}, even when none is missed.",
            "Collect more positive patients (cxray plan says how many), or lower the target.",
        )
    return int(np.searchsorted(cuts.values, cuts.worst_of_patient[allowed]))


def _target(policy: Policy) -> float:
    assert policy.target is not None, "checked on construction"
    return policy.target


_RULES: dict[str, Callable[[_Cuts, Policy], int]] = {
    "youden": _youden,
    "target_sensitivity": _target_sensitivity,
    "target_specificity": _target_specificity,
    "target_ppv": _target_ppv,
    "cost_ratio": _cost_ratio,
    "net_benefit": _net_benefit,
    "guaranteed_sensitivity": _guaranteed_sensitivity,
}
# Exclusive upper end of each target; None where the policy takes no target.
_UPPER: dict[str, float | None] = {
    "youden": None,
    "cost_ratio": math.inf,
    **dict.fromkeys(
        ("target_sensitivity", "target_specificity", "target_ppv", "net_benefit", "guaranteed_sensitivity"),
        1.0,
    ),
}


def _check(scores: Floats, is_positive: Flags, policy: Policy) -> None:
    if scores.ndim != 1 or scores.shape != is_positive.shape:
        raise DataError(f"Expected one score and one truth a film, got {scores.shape} and {is_positive.shape}.")
    if not np.isfinite(scores).all():
        raise DataError(
            f"{np.count_nonzero(~np.isfinite(scores))} of {len(scores)} scores are not finite numbers.",
            "Leave out the films without a result before choosing a threshold.",
        )
    if is_positive.all() or not is_positive.any():
        which = "positive" if is_positive.size and is_positive.all() else "negative"
        raise DataError(
            f"The threshold policy {policy} needs films of both classes, but all {len(scores)} are {which}.",
            "Give a validation table with both classes.",
        )
