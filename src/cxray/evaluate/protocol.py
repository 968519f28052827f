"""What will be judged, fixed before the test films are opened: primary measure, margin, threshold, subgroups, harm.

A protocol is a TOML file; its lock, a JSON file beside it, holds every version that was ever locked with its SHA-256
and the time, each entry naming the hash of the one before. Judging under a protocol marks each record: `primary` and
`secondary` when the version that was locked *before the first opening of these films* names it, else `exploratory`.
A lock proves order only as far as the clock and the keeper of the files are honest; kept under version control or sent
to a second person, it proves it to others.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cxray import __version__
from cxray.config import fingerprint, settings_from_toml
from cxray.errors import DataError, UsageError
from cxray.evaluate.record import LEVEL
from cxray.evaluate.thresholds import Policy
from cxray.rundir import write_json, write_text

PRIMARY, SECONDARY, EXPLORATORY = "primary", "secondary", "exploratory"
# Measures of one question that a protocol may name; larger is better except where said in `_SMALLER_IS_BETTER`.
MEASURES = (
    "auroc", "average_precision", "partial_auroc", "sensitivity", "specificity", "ppv", "npv", "accuracy",
    "balanced_accuracy", "likelihood_ratio_positive", "likelihood_ratio_negative", "f1", "mcc", "brier", "scaled_brier",
    "log_loss", "calibration_slope", "calibration_intercept", "observed_expected_ratio", "net_benefit",
    "sensitivity_proven", "specificity_proven", "conformal_coverage", "area_under_risk_coverage",
)  # fmt: skip
_SMALLER_IS_BETTER = ("brier", "log_loss", "likelihood_ratio_negative", "area_under_risk_coverage")
LOCK_SUFFIX = ".lock.json"


def _check_measure(name: str, where: str) -> None:
    if name not in MEASURES:
        close = difflib.get_close_matches(name, MEASURES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"{where} names no measure: {name!r}.{hint}", f"Measures: {', '.join(MEASURES)}.")


@dataclasses.dataclass(frozen=True)
class PrimaryGoal:
    """The one measure that decides, and what its interval must reach: all of it `at_least`, or `at_most`, a value.

    Without a goal the measure is estimated and nothing is decided.
    """

    metric: str = "auroc"
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        _check_measure(self.metric, "primary.metric")
        if self.at_least is not None and self.at_most is not None:
            raise UsageError("primary has both at_least and at_most.", "Keep the one that the claim needs.")
        if self.at_least is not None and self.metric in _SMALLER_IS_BETTER:
            raise UsageError(f"{self.metric} is better when smaller.", "Use primary.at_most.")


@dataclasses.dataclass(frozen=True)
class ThresholdRule:
    """Where the operating point comes from: a `policy` applied to the validation table, a fixed `value` (0–1), or, with
    neither, the decisions frozen with the model.
    """

    policy: str = ""
    value: float | None = None

    def __post_init__(self) -> None:
        if self.policy and self.value is not None:
            raise UsageError("threshold has both a policy and a value.", "Keep one of them.")
        if self.policy:
            Policy.parse(self.policy)
        if self.value is not None and not 0 <= self.value <= 1:
            raise UsageError(f"threshold.value must lie between 0 and 1, got {self.value:g}.")


@dataclasses.dataclass(frozen=True)
class HarmRange:
    """The threshold probabilities (0–1) over which the model must be useful: how many false alarms a miss outweighs."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise UsageError("harm needs both low and high.", "Example: low = 0.1 and high = 0.5")
        if self.low is not None and self.high is not None and not 0 < self.low < self.high < 1:
            raise UsageError(f"harm must satisfy 0 < low < high < 1, got {self.low:g} and {self.high:g}.")


@dataclasses.dataclass(frozen=True)
class ComparisonGoal:
    """How models are compared: `margin` is the largest loss of AUROC that still counts as not inferior."""

    margin: float | None = None

    def __post_init__(self) -> None:
        if self.margin is not None and not 0 < self.margin < 1:
            raise UsageError(f"comparison.margin must lie between 0 and 1, got {self.margin:g}.")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything that is fixed beforehand; read with `load_protocol`."""

    title: str = ""
    question: str = ""
    positive: str = ""
    level: float = LEVEL
    seed: int = 0
    primary: PrimaryGoal = PrimaryGoal()
    secondary: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    prevalences: tuple[float, ...] = ()
    threshold: ThresholdRule = ThresholdRule()
    harm: HarmRange = HarmRange()
    comparison: ComparisonGoal = ComparisonGoal()

    def __post_init__(self) -> None:
        if not 0.5 <= self.level < 1:
            raise UsageError(f"level must lie between 0.5 and 1, got {self.level:g}.")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, got {self.seed}.")
        for name in self.secondary:
            _check_measure(name, "secondary")
        strange = [share for share in self.prevalences if not 0 < share < 1]
        if strange:
            raise UsageError(f"A prevalence must lie between 0 and 1, got {strange[0]:g}.")

    @property
    def sha256(self) -> str:
        """SHA-256 of what is settled; comments, order and spacing of the file do not change it."""
        return fingerprint(self)

    def role(self, name: str, slice_name: str = "") -> str:
        """The role of the record `name` (in `slice_name`, "column=value") under this protocol."""
        stem = name.removesuffix("_difference")
        base = stem.partition("_at_prevalence_")[0]
        if slice_name:
            column = slice_name.partition("=")[0]
            named = column in self.subgroups and stem in (self.primary.metric, *self.secondary)
            return SECONDARY if named else EXPLORATORY
        if name == self.primary.metric:
            return PRIMARY
        if base != stem:
            return SECONDARY if self._restates(base, stem) else EXPLORATORY
        if name == "least_gain_in_harm_range" and self.harm.low is not None:
            return SECONDARY
        return SECONDARY if name in self.secondary else EXPLORATORY

    def _restates(self, base: str, stem: str) -> bool:
        share = float(stem.removeprefix(f"{base}_at_prevalence_"))
        return share in self.prevalences and base in (self.primary.metric, *self.secondary)


@dataclasses.dataclass(frozen=True)
class Lock:
    """One locked version: the protocol, its hash and when it was locked (UTC)."""

    protocol: Protocol
    sha256: str
    locked_at: datetime.datetime


def load_protocol(path: Path) -> Protocol:
    """Read a protocol file.

    Raises:
        UsageError: no such file, not TOML, an unknown key (with the one that may be meant), or a value that cannot be
            meant.
    """
    if not path.is_file():
        raise UsageError(f"There is no protocol at {path}.", f"Make one: cxray protocol new {path}")
    return cast(Protocol, settings_from_toml(Protocol, path.read_text("utf-8", errors="replace"), str(path)))


def new_protocol(path: Path) -> None:
    """Write a protocol to fill in, each key explained.

    Raises:
        UsageError: there is a file already.
        OutputError: it cannot be written.
    """
    if path.exists():
        raise UsageError(f"{path} exists already.", "Choose another name, or edit that file.")
    write_text(path, _TEMPLATE)


def lock_protocol(path: Path, *, amend: bool = False) -> Lock:
    """Lock the protocol at `path` by writing its hash, its content and the time into `<path>.lock.json`.

    Locking what is locked already changes nothing. A changed protocol is locked as a further version with `amend`; what
    it adds counts as exploratory for films that were opened before.

    Raises:
        UsageError: it was changed after it was locked, and `amend` was not asked for.
        DataError: the lock file is damaged.
    """
    protocol = load_protocol(path)
    locks = read_locks(path)
    if locks and locks[-1].sha256 == protocol.sha256:
        return locks[-1]
    if locks and not amend:
        raise UsageError(
            f"{path} was locked at {locks[-1].locked_at:%Y-%m-%d %H:%M} UTC and changed since.",
            "Undo the change, or lock the new version beside the old one with --amend.",
        )
    entries = _lock_entries(path)
    now = datetime.datetime.now(datetime.UTC)
    entry = {
        "sha256": protocol.sha256,
        "locked_at": now.isoformat(timespec="seconds"),
        "cxray": __version__,
        "previous": _chained(entries[-1]) if entries else "",
        "protocol": dataclasses.asdict(protocol),
    }
    write_json(lock_path(path), {"schema": 1, "locks": [*entries, entry]})
    return Lock(protocol, protocol.sha256, now.replace(microsecond=0))


def lock_path(path: Path) -> Path:
    """Where the lock of the protocol at `path` lies."""
    return path.with_name(path.name + LOCK_SUFFIX)


def read_locks(path: Path) -> list[Lock]:
    """Every locked version of the protocol at `path`, oldest first; empty when it was never locked.

    Raises:
        DataError: the lock file was edited: a hash does not fit its content, or an entry not the one before.
    """
    locks = []
    previous = ""
    for number, entry in enumerate(_lock_entries(path), 1):
        try:
            table = entry["protocol"]
            protocol = _from_json(table)
            locked_at = datetime.datetime.fromisoformat(entry["locked_at"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{lock_path(path)} is damaged in entry {number}: {error}.", _RESTORE) from error
        if protocol.sha256 != entry.get("sha256") or entry.get("previous", "") != previous:
            raise DataError(f"{lock_path(path)} was edited: entry {number} does not fit its hash.", _RESTORE)
        previous = _chained(entry)
        locks.append(Lock(protocol, protocol.sha256, locked_at))
    return locks


def locked_protocol(path: Path) -> tuple[Protocol, list[Lock]]:
    """The protocol at `path` with its locks, the last of which is what the file says.

    Raises:
        UsageError: it was never locked, or changed since.
    """
    protocol, locks = load_protocol(path), read_locks(path)
    if not locks:
        raise UsageError(
            f"{path} is not locked, so nothing shows that it was settled before the films were opened.",
            f"Lock it first: cxray protocol lock {path}",
        )
    if locks[-1].sha256 != protocol.sha256:
        raise UsageError(
            f"{path} changed after it was locked at {locks[-1].locked_at:%Y-%m-%d %H:%M} UTC.",
            f"Undo the change, or lock the new version: cxray protocol lock --amend {path}",
        )
    return protocol, locks


def in_force(locks: Sequence[Lock], first_opened: datetime.datetime | None) -> Lock | None:
    """The last version locked before the films were first opened; None when none was. Never opened: the last one."""
    before = [lock for lock in locks if first_opened is None or lock.locked_at <= first_opened]
    return before[-1] if before else None


def _lock_entries(path: Path) -> list[dict[str, Any]]:
    where = lock_path(path)
    if not where.is_file():
        return []
    try:
        entries = json.loads(where.read_text("utf-8"))["locks"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where} is damaged: {error}.", _RESTORE) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{where} is damaged: its locks are no list of entries.", _RESTORE)
    return entries


def _from_json(table: Mapping[str, Any]) -> Protocol:
    import tomli_w

    return cast(Protocol, settings_from_toml(Protocol, tomli_w.dumps(_without_none(table)), "the lock"))


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }


def _chained(entry: Mapping[str, Any]) -> str:
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_RESTORE = "Restore it from version control or a copy; a lock is never edited by hand."

_TEMPLATE = """\
# What will be judged, settled before the test films are opened.
# Fill it in, then: cxray protocol lock THIS_FILE
# Then judge:       cxray evaluate test.csv --out judged --protocol THIS_FILE

title = ""
# For whom, at which point of care, and what happens on a positive answer.
question = ""
# The class that counts as ill; "" takes the second of two.
positive = ""
level = 0.95
seed = 0

# Further measures that will be claimed. Whatever is not named here is reported as exploratory.
secondary = ["sensitivity", "specificity", "brier", "calibration_slope", "calibration_intercept"]
# Columns of the predictions table; each value is judged apart.
subgroups = []
# Shares of ill patients (0 to 1) at which predictive values are restated.
prevalences = []

# The one measure that decides. at_least: its whole interval must lie at or above; at_most: at or below.
[primary]
metric = "auroc"
# at_least = 0.9

# A policy is applied to the validation table; value is a fixed number; neither: the decisions frozen with the model.
[threshold]
policy = ""
# value = 0.5

# Threshold probabilities that matter: at 0.1 one miss outweighs nine false alarms, at 0.5 one.
[harm]
# low = 0.1
# high = 0.5

# cxray compare: the largest loss of AUROC against the first model that still counts as not inferior.
[comparison]
# margin = 0.02
"""
