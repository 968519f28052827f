"""From finished trials to what a sweep found: one row a trial, one table of held-out patients a recipe and seed.

Within every fold the candidate of a recipe is chosen by the trials' own validation patients, and only the chosen one's
held-out patients go into the table (nested selection). The tables are ordinary predictions tables of patients that no
part of their model has seen; `cxray compare` judges them, with the spread over seeds.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxray import rundir
from cxray.cluster.sweep import FINAL, MEASURES, Plan, Trial
from cxray.config import load_recipe
from cxray.errors import PartialResult
from cxray.evaluate.comparison import Goal
from cxray.tables import Column, read_table, write_table
from cxray.workflow.cluster_trial import HELDOUT, RECIPES, RESULT, RUN, TRIALS, read_trial
from cxray.workflow.compare import compare_tables
from cxray.workflow.evaluate import evaluate_table

SELECTED = "selected"
# Every pair of tables is tested; beyond this the page says nothing more and takes minutes.
MOST_TABLES = 16
# As `evaluate.seeds` asks.
FEWEST_SEEDS = 3


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A concluded sweep: its folder and the facts of `sweep.json`."""

    folder: Path
    facts: Mapping[str, Any]

    def summary(self) -> str:
        """What was found, for the terminal."""
        lines = [f"{self.facts['finished']} of {self.facts['trials']} trials finished."]
        for name, recipe in self.facts["recipes"].items():
            areas = [f"{area:.4f}" for area in recipe["heldout_auroc"].values() if area is not None]
            lines.append(f"{name:20} held-out AUROC, mean over folds, seed by seed: {', '.join(areas) or 'none'}")
        lines += [f"- {note}" for note in self.facts["notes"]]
        lines += [f"Report: {self.folder / self.facts['report']}"] if self.facts["report"] else []
        return "\n".join(lines)

    def check(self) -> None:
        """Raises:
        PartialResult: some trials have no result.
        """
        if self.facts["failures"]:
            key, words = next(iter(self.facts["failures"].items()))
            raise PartialResult(
                f"{len(self.facts['failures'])} of {self.facts['trials']} trials have no result; {key} {words}",
                "Mend the cause and run the same command with --resume.",
            )


@dataclasses.dataclass(frozen=True)
class Done:
    """A finished trial: `value` by the plan's measure, its `loss` for ties, and everything of `result.json`."""

    trial: Trial
    folder: Path
    facts: Mapping[str, Any]

    def measure(self, name: str) -> float:
        """A measure on the trial's own validation patients; NaN when undefined."""
        value = self.facts["measures"][name]
        return math.nan if value is None else float(value)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The candidate that a recipe's search chose in one fold, by the mean over seeds."""

    candidate: int
    overrides: tuple[str, ...]
    value: float
    trials: tuple[Done, ...]


def conclude(out: Path, plan: Plan, failures: Mapping[str, str]) -> Sweep:
    """Choose, gather the tables, compare, and close the folder; `sweep.json` and the manifest come last.

    Raises:
        OutputError: a result cannot be written.
    """
    done = _finished(out)
    chosen = {(name, fold): _choose(plan, done, name, fold) for name in plan.recipes for fold in plan.places}
    _write_trials(out / "trials.csv", plan, done, chosen)
    tables = _write_tables(out, plan, chosen)
    notes = _missing(plan, chosen)
    report = _judge(out, plan, tables, notes)
    best = _best(out, plan, chosen, notes)
    facts = {
        "schema": 1,
        "plan": plan.to_dict(),
        "trials": plan.trials,
        "finished": len(done),
        "failures": dict(failures),
        "recipes": {name: _recipe_facts(plan, chosen, name) for name in plan.recipes},
        "tables": {name: str(path.relative_to(out)) for name, path in tables.items()},
        "best": best,
        "report": report,
        "notes": notes,
    }
    rundir.write_json(out / "sweep.json", facts)
    if not failures:
        rundir.write_manifest(out, {"kind": "sweep", "trials": plan.trials})
    return Sweep(out, facts)


def _finished(out: Path) -> list[Done]:
    folders = sorted(path.parent for path in (out / TRIALS).glob(f"*/{RESULT}"))
    return [Done(read_trial(folder), folder, json.loads((folder / RESULT).read_text("utf-8"))) for folder in folders]


def _choose(plan: Plan, done: Sequence[Done], recipe: str, fold: int) -> Choice | None:
    """The best candidate that finished with all seeds; ties go to the lower loss, then to the earlier one."""
    groups: dict[int, list[Done]] = {}
    for one in done:
        if (one.trial.recipe, one.trial.fold) == (recipe, fold) and one.trial.seed in plan.seeds:
            groups.setdefault(one.trial.candidate, []).append(one)
    choices = []
    for candidate, group in sorted(groups.items()):
        if len(group) == len(plan.seeds):
            value = float(np.mean([one.measure(plan.measure) for one in group]))
            choices.append(Choice(candidate, group[0].trial.overrides, value, tuple(group)))
    sign = MEASURES[plan.measure]

    def rank(choice: Choice) -> tuple[float, float]:
        loss = float(np.mean([one.measure("validation_loss") for one in choice.trials]))
        value = -math.inf if math.isnan(choice.value) else sign * choice.value
        return (value, -loss)

    return max(choices, key=rank, default=None)


Chosen = Mapping[tuple[str, int], Choice | None]


def _write_tables(out: Path, plan: Plan, chosen: Chosen) -> dict[str, Path]:
    """One predictions table a recipe and seed, and with several recipes one of the procedure that picks among them."""
    folds = [fold for fold in plan.places if fold != FINAL]
    picks = {name: [chosen[name, fold] for fold in folds] for name in plan.recipes}
    if len(plan.recipes) > 1:
        sign = MEASURES[plan.measure]
        picks[SELECTED] = [
            max((c for n in plan.recipes if (c := chosen[n, f])), key=lambda c: sign * c.value, default=None)
            for f in folds
        ]
    tables = {}
    for name, choices in picks.items():
        for number, seed in enumerate(plan.seeds):
            parts = [sorted(c.trials, key=lambda one: one.trial.seed)[number].folder / HELDOUT for c in choices if c]
            if len(parts) == len(folds):
                path = out / "predictions" / f"{name}-seed{seed}.csv"
                write_table(path, _stacked([read_table(part) for part in parts]))
                tables[f"{name}-seed{seed}"] = path
    return tables


def _stacked(parts: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    names = list(dict.fromkeys(name for part in parts for name in part))
    empty = [np.full(len(part["path"]), "", dtype=object) for part in parts]
    whole = {n: np.concatenate([p.get(n, e) for p, e in zip(parts, empty, strict=True)]) for n in names}
    order = np.argsort(whole["path"].astype(str), kind="stable")
    return {name: column[order] for name, column in whole.items()}


def _missing(plan: Plan, chosen: Chosen) -> list[str]:
    return [
        f"{name} has no finished candidate in fold {fold}, so it is not in the comparison."
        for (name, fold), choice in chosen.items()
        if choice is None and fold in plan.places
    ]


def _judge(out: Path, plan: Plan, tables: Mapping[str, Path], notes: list[str]) -> str:
    """Judge the tables; returns where the report lies, "" when there is nothing to judge."""
    shown = list(tables)[: MOST_TABLES // len(plan.seeds) * len(plan.seeds) or MOST_TABLES]
    if len(shown) < len(tables):
        notes.append(f"The comparison shows {len(shown)} of {len(tables)} tables; `cxray compare` judges the others.")
    if not shown:
        return ""
    if len(shown) == 1:
        table = tables[shown[0]]
        command = shlex.join(["cxray", "evaluate", str(table), "--out", str(out / "judged")])
        evaluate_table(table, out / "judged", overwrite=True, command=command)
        return "judged/report.html"
    groups = {name: name.rpartition("-seed")[0] for name in shown}
    command = _compare_command(out, {name: tables[name] for name in shown}, groups)
    named = [Path(f"{name}={tables[name]}") for name in shown]
    goal = Goal(groups=groups if len(plan.seeds) >= FEWEST_SEEDS else {})
    result = compare_tables(named, out / "comparison", goal=goal, overwrite=True, command=command)
    notes += [said for record in result.records if (said := _over_seeds(record))]
    if not goal.groups:
        notes.append(f"The spread over seeds needs at least {FEWEST_SEEDS} of them.")
    return "comparison/report.html"


def _over_seeds(record: Any) -> str:
    """The sentence of a record about seeds, "" for other records."""
    if record.value is None or record.low is None or SELECTED in record.slice.split(" over "):
        return ""
    limits = f"{record.low:.3f} to {record.high:.3f}"
    if record.name == "auroc_over_seeds":
        recipe = record.slice.removeprefix("recipe=")
        return f"{recipe} ({record.label}): AUROC {record.value:.3f}; one new seed is expected at {limits}."
    if record.name == "chance_better":
        first, _, second = record.slice.partition(" over ")
        return f"Chance that a new {first} beats a new {second} ({record.label}): {record.value:.2f} ({limits})."
    return ""


def _compare_command(out: Path, tables: Mapping[str, Path], groups: Mapping[str, str]) -> str:
    words = ["cxray", "compare", *(f"{name}={path}" for name, path in tables.items())]
    for recipe in dict.fromkeys(groups.values()):
        words += ["--seeds", f"{recipe}={','.join(name for name in tables if groups[name] == recipe)}"]
    return shlex.join([*words, "--out", str(out / "compared-again")])


def _best(out: Path, plan: Plan, chosen: Chosen, notes: list[str]) -> dict[str, Any] | None:
    """The settings to train with from now on, written as `best.toml`, chosen on validation patients alone."""
    folds = [fold for fold in plan.places if fold != FINAL]
    finished = {name: [c for fold in folds if (c := chosen[name, fold])] for name in plan.recipes}
    means = {n: float(np.mean([c.value for c in found])) for n, found in finished.items() if len(found) == len(folds)}
    if not means:
        return None
    sign = MEASURES[plan.measure]
    name = max(means, key=lambda recipe: -math.inf if math.isnan(means[recipe]) else sign * means[recipe])
    choice = chosen.get((name, FINAL))
    if plan.spaces and choice is None:
        notes.append(f"{name} is ahead on validation patients; each fold has settings of its own. For settings, and a "
                     "model, from all patients: the same command with --resume --final.")  # fmt: skip
        return {"recipe": name, "mean": _or_none(means[name]), "overrides": None}
    overrides = choice.overrides if choice else ()
    settings = load_recipe(str(out / RECIPES / f"{name}.toml"), overrides)
    rundir.write_text(out / "best.toml", settings.to_toml())
    found: dict[str, Any] = {
        "recipe": name,
        "mean": _or_none(means[name]),
        "overrides": list(overrides),
        "file": "best.toml",
    }
    if choice:
        # The first seed, not the luckiest.
        first = min(choice.trials, key=lambda one: one.trial.seed)
        found["bundle"] = str((first.folder / RUN / "bundle").relative_to(out))
        notes.append(f"Model from all patients, seed {first.trial.seed}: {out / found['bundle']}")
    notes.append(f"Ahead on validation patients: {name}; settings in {out / 'best.toml'}")
    return found


def _recipe_facts(plan: Plan, chosen: Chosen, name: str) -> dict[str, Any]:
    """What was chosen in each fold, and the mean AUROC over folds of held-out patients, seed by seed."""
    folds = {fold: chosen[name, fold] for fold in plan.places}
    areas: dict[str, float | None] = {}
    for seed in plan.seeds:
        found = [
            one.facts["heldout"]["auroc"]
            for fold, choice in folds.items()
            for one in (choice.trials if choice and fold != FINAL else ())
            if one.trial.seed == seed
        ]
        known = [area for area in found if area is not None]
        areas[str(seed)] = float(np.mean(known)) if known else None
    return {
        "chosen": {
            str(fold): {"candidate": c.candidate, "overrides": list(c.overrides), "validation": _or_none(c.value)}
            for fold, c in folds.items()
            if c
        },
        "heldout_auroc": areas,
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _write_trials(path: Path, plan: Plan, done: Sequence[Done], chosen: Chosen) -> None:
    """`trials.csv`: one row a finished trial, with what it reached and whether its candidate was chosen."""
    if not done:
        return
    searched = [space.key for space in plan.spaces]
    rows = []
    for one in done:
        choice = chosen.get((one.trial.recipe, one.trial.fold))
        values = dict(override.split("=", 1) for override in one.trial.overrides)
        heldout = one.facts.get("heldout") or {}
        rows.append(
            {
                "trial": one.trial.key,
                "recipe": one.trial.recipe,
                "fold": "all" if one.trial.fold == FINAL else str(one.trial.fold),
                "candidate": str(one.trial.candidate),
                "seed": str(one.trial.seed),
                **{key: values.get(key, "") for key in searched},
                **{name: _cell(value) for name, value in one.facts["measures"].items()},
                "heldout_auroc": _cell(heldout.get("auroc")),
                "heldout_films": _cell(heldout.get("films")),
                "best_epoch": _cell(one.facts["best_epoch"]),
                "seconds": _cell(one.facts["seconds"]),
                "chosen": "yes" if choice and choice.candidate == one.trial.candidate else "no",
            }
        )
    write_table(path, {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]})


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
