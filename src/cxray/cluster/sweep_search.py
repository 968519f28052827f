"""Which trial comes next: every recipe, fold and seed, and within each fold what Optuna proposes.

Each recipe has one search a fold, which sees only the validation patients inside that fold's training part. The
patients who are held out can therefore say how good the whole procedure is, search included (nested selection). The
same object serves the process pool and Ray Tune, so both make the same proposals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from cxray import extras
from cxray.cluster.sweep import MEASURES, Plan, Space, Trial

# Settings drawn at random before the sampler trusts what it was told (Bergstra et al. 2011 use 20 of 100).
_STARTUP_SHARE = 0.4


class Proposals:
    """Hands out every trial of a plan once, and learns from those that are done.

    `earlier` are the trials that an earlier, killed call had begun, with their value or None; they keep their settings.
    """

    def __init__(self, plan: Plan, earlier: Mapping[Trial, float | None] | None = None) -> None:
        self.plan = plan
        self._searches = {(r, f): _Search(plan, r, f) for f in plan.places for r in plan.recipes}
        for trial, value in (earlier or {}).items():
            search = self._searches.get((trial.recipe, trial.fold))
            if search is not None:
                search.remember(trial, value)
        self._left = self._all()

    def next(self) -> Trial | None:
        """The next trial, None when all were handed out."""
        return next(self._left, None)

    def done(self, trial: Trial, value: float | None) -> None:
        """Take in what a trial reached on its own validation patients; None when it failed."""
        self._searches[trial.recipe, trial.fold].tell(trial, value)

    def _all(self) -> Iterator[Trial]:
        for place in self.plan.places:
            for number in range(self.plan.samples):
                for recipe in self.plan.recipes:
                    overrides = self._searches[recipe, place].candidate(number)
                    for seed in self.plan.seeds:
                        yield Trial.of(
                            recipe, place, number, seed, overrides, self.plan.base + self.plan.recipes[recipe]
                        )


class _Search:
    """The search of one recipe in one fold; a candidate counts by the mean over seeds."""

    def __init__(self, plan: Plan, recipe: str, fold: int) -> None:
        self.plan = plan
        self.overrides: dict[int, tuple[str, ...]] = {}
        self.values: dict[int, dict[int, float | None]] = {}  # candidate, seed
        self.asked: dict[int, Any] = {}
        self.study = _study(plan, f"{recipe}/{fold}") if plan.spaces else None

    def remember(self, trial: Trial, value: float | None) -> None:
        self.overrides[trial.candidate] = trial.overrides
        if value is not None:
            self.tell(trial, value)

    def candidate(self, number: int) -> tuple[str, ...]:
        """The settings of candidate `number`."""
        if number not in self.overrides:
            self.overrides[number] = () if self.study is None else self._ask(number)
        return self.overrides[number]

    def tell(self, trial: Trial, value: float | None) -> None:
        known = self.values.setdefault(trial.candidate, {})
        if trial.seed not in known:  # one found finished was told when it was remembered
            known[trial.seed] = value
            if len(known) == len(self.plan.seeds):
                self._conclude(trial.candidate)

    def _ask(self, number: int) -> tuple[str, ...]:
        assert self.study is not None
        asked = self.study.ask({space.key: _distribution(space) for space in self.plan.spaces})
        self.asked[number] = asked
        return tuple(f"{key}={_text(value)}" for key, value in asked.params.items())

    def _conclude(self, number: int) -> None:
        """Tell the study about a candidate whose seeds are all through."""
        if self.study is None:
            return
        import optuna

        values = [value for value in self.values[number].values() if value is not None and not math.isnan(value)]
        mean = sum(values) / len(values) if len(values) == len(self.plan.seeds) else None
        state = optuna.trial.TrialState.COMPLETE if mean is not None else optuna.trial.TrialState.FAIL
        if number in self.asked:
            self.study.tell(self.asked.pop(number), mean, state=state)
            return
        distributions = {space.key: _distribution(space) for space in self.plan.spaces}
        params = _params(self.overrides[number], self.plan)
        self.study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=mean, state=state)
        )


def _study(plan: Plan, name: str) -> Any:
    optuna = extras.require("optuna", "cluster", "Searching for settings")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # One stream of random numbers a search: more folds or recipes leave the others as they were.
    seed = sum((place + 1) * byte for place, byte in enumerate(name.encode())) % 2**31
    startup = max(1, round(_STARTUP_SHARE * plan.samples))
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    return optuna.create_study(direction="maximize" if MEASURES[plan.measure] > 0 else "minimize", sampler=sampler)


def _distribution(space: Space) -> Any:
    import optuna

    if space.choices:
        return optuna.distributions.CategoricalDistribution(space.choices)
    if space.is_whole:
        return optuna.distributions.IntDistribution(int(space.low), int(space.high), log=space.is_log)
    return optuna.distributions.FloatDistribution(space.low, space.high, log=space.is_log)


def _text(value: Any) -> str:
    """A value as `--set` reads it back to the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else str(value)


def _params(overrides: tuple[str, ...], plan: Plan) -> dict[str, Any]:
    """The values behind overrides, as Optuna knows them."""
    texts = dict(override.split("=", 1) for override in overrides)
    return {space.key: _read(texts[space.key], space) for space in plan.spaces}


def _read(text: str, space: Space) -> Any:
    if space.choices:
        return next(choice for choice in space.choices if _text(choice) == text)
    return int(text) if space.is_whole else float(text)
