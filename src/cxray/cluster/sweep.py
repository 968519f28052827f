"""What a sweep consists of: its plan, the spaces it searches, and the single trials.

A trial trains one recipe, with one choice of searched settings, one seed, and one fold of patients held out. Its folder
is named for what it is plus a hash of all its settings, so that a trial that is found finished needs no second run,
whichever engine made it. No Ray and no Optuna here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cxray.errors import ConfigError, UsageError

FINAL = 0
"""The number of the fold in which no patient is held out: the search for the settings to use afterwards."""

MEASURES = {"validation_auroc": 1, "validation_accuracy": 1, "validation_loss": -1}
"""What candidates are chosen by, on the validation patients inside the training part; −1 = smaller is better."""


@dataclasses.dataclass(frozen=True)
class Space:
    """The values that one setting may take: `choices`, or numbers from `low` to `high`, even on a log scale."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False

    @classmethod
    def parse(cls, text: str) -> Space:
        """Read `section.key=a..b`, `section.key=a..b:log` or `section.key=a,b,c`.

        Raises:
            UsageError: none of these.
        """
        key, separator, values = (part.strip() for part in text.partition("="))
        if not separator or "." not in key or not values:
            raise UsageError(
                f"--search {text!r} is not of the form section.key=VALUES.",
                "Examples: train.learning_rate=1e-5..1e-2:log, model.dropout=0..0.5, train.batch_size=16,32,64",
            )
        if ".." not in values:
            choices = tuple(_value(value.strip()) for value in values.split(",") if value.strip())
            return cls(key, choices)
        ends, _, scale = values.partition(":")
        low, _, high = ends.partition("..")
        return cls._between(text, key, _value(low.strip()), _value(high.strip()), scale)

    @classmethod
    def _between(cls, text: str, key: str, low: Any, high: Any, scale: str) -> Space:
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if not numbers or not low < high or scale not in ("", "log") or (scale == "log" and low <= 0):
            raise UsageError(
                f"--search {text!r}: expected two numbers a..b with a < b, and for :log a > 0.",
                "Example: --search train.learning_rate=1e-5..1e-2:log",
            )
        whole = isinstance(low, int) and isinstance(high, int)
        return cls(key, (), float(low), float(high), scale == "log", whole)

    def ends(self) -> tuple[Any, ...]:
        """The values that show whether the whole space can be meant."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.is_whole else (self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a sweep. `overrides` are the searched settings as `section.key=value`; `key` names its folder."""

    recipe: str
    fold: int
    candidate: int
    seed: int
    overrides: tuple[str, ...]
    key: str

    @classmethod
    def of(cls, recipe: str, fold: int, candidate: int, seed: int, overrides: tuple[str, ...], base: str) -> Trial:
        """A trial with its key; `base` is the fingerprint of everything that all trials of the recipe share."""
        settings = json.dumps([base, recipe, fold, seed, sorted(overrides)])
        digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
        place = "final" if fold == FINAL else f"fold{fold}"
        return cls(recipe, fold, candidate, seed, overrides, f"{recipe}-{place}-c{candidate:02d}-seed{seed}-{digest}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Trial:
        """Read back what `to_dict` gave."""
        return cls(**{**facts, "overrides": tuple(facts["overrides"])})


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole sweep: `recipes` maps names to the fingerprint of their settings; `samples` candidates a search."""

    recipes: Mapping[str, str]
    seeds: tuple[int, ...]
    folds: int
    spaces: tuple[Space, ...] = ()
    samples: int = 1
    measure: str = "validation_auroc"
    final: bool = False
    base: str = ""

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ConfigError(f"{self.measure!r} is no measure.", f"Choose one of {', '.join(MEASURES)}.")
        if not self.seeds or not self.recipes:
            raise UsageError("A sweep needs at least one recipe and one seed.")
        if bool(self.spaces) != (self.samples > 1):
            raise UsageError(
                "--search and --samples belong together: what to vary, and how many settings to try.",
                "Example: --search train.learning_rate=1e-5..1e-2:log --samples 10",
            )

    @property
    def places(self) -> tuple[int, ...]:
        """The folds in the order of work, `FINAL` last."""
        return (*range(1, self.folds + 1), *([FINAL] if self.final else []))

    @property
    def trials(self) -> int:
        """How many trainings the sweep has."""
        return len(self.recipes) * len(self.places) * self.samples * len(self.seeds)

    def same_but_final(self, other: Plan) -> bool:
        """Whether `other` differs at most by the final search, which may be added later."""
        return dataclasses.replace(self, final=False) == dataclasses.replace(other, final=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Plan:
        """Read back what `to_dict` gave."""
        spaces = tuple(Space(**{**space, "choices": tuple(space["choices"])}) for space in facts["spaces"])
        return cls(**{**facts, "spaces": spaces, "seeds": tuple(facts["seeds"]), "recipes": dict(facts["recipes"])})


def _value(text: str) -> Any:
    """A number or truth value where the text is one, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
