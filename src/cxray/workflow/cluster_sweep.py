"""`cxray cluster sweep`: many trainings, and an honest table of which recipe is better.

    audit (as `cxray train`) ─► test films set aside for good ─► patients into folds ─► trials, here or on a Ray cluster
    ─► per fold the settings chosen on its own validation patients ─► tables of held-out patients ─► `cxray compare`

Nobody is held out and learned from at once, choosing included, so the tables may be believed; the test films stay
sealed. A killed sweep goes on with `resume`: finished trials are kept, begun ones go on from their checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxray import progress, rundir
from cxray.cluster.nodes import check_nodes
from cxray.cluster.session import POOL, choose_address, connected
from cxray.cluster.sweep import Plan, Space, Trial
from cxray.cluster.sweep_pool import SweepPool
from cxray.cluster.sweep_search import Proposals
from cxray.cluster.train_pool import python_module
from cxray.config import Recipe
from cxray.data.audit.duplicates import find_pairs
from cxray.data.audit.scan import scan_films
from cxray.data.crossfold import assign_folds, joined_patients
from cxray.data.intake import Intake, read_dataset
from cxray.data.split import Division, divide
from cxray.errors import UsageError
from cxray.tables import write_table
from cxray.workflow.audit_gate import pass_gate
from cxray.workflow.cluster_trial import (
    AUDIT,
    FILMS,
    FOLD,
    RECIPES,
    RESULT,
    TRIAL,
    TRIALS,
    fold_name,
    read_trial,
    run_trial,
)
from cxray.workflow.cluster_worker import NODE_MODULES
from cxray.workflow.run_order import load_settings
from cxray.workflow.sweep_results import Sweep, conclude

PLAN = "plan.json"
RESTARTS = 2


@dataclasses.dataclass(frozen=True)
class Means:
    """Where the trials run ("pool" = processes of this machine), how many at once, and with what each.

    `parallel` counts on one machine only; on a cluster `cpus` and `gpus` of a trial decide.
    """

    address: str = ""
    parallel: int = 1
    cpus: int = 1
    gpus: int = 0
    restarts: int = RESTARTS


@dataclasses.dataclass(frozen=True)
class Question:
    """What the sweep asks: which recipes, over which seeds and folds, with which settings searched.

    `search` are texts as `Space.parse` reads them; `fold_seed` draws the folds; `final` adds the search on all patients
    whose winner is the model to use.
    """

    recipes: tuple[str, ...] = ("default",)
    seeds: int = 3
    folds: int = 5
    search: tuple[str, ...] = ()
    samples: int = 1
    measure: str = "validation_auroc"
    final: bool = False
    fold_seed: int = 0


def sweep(
    data: Path,
    out: Path,
    question: Question | None = None,
    means: Means | None = None,
    *,
    overrides: Sequence[str] = (),
    findings: Sequence[str] = (),
    accept: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
) -> Sweep:
    """Train what `question` asks for on `data`, and leave tables, comparison and trials in `out`.

    Raises:
        MissingExtra: a library for training, searching or the cluster is not installed.
        ConfigError, UsageError, DataError, SplitError: with the sentence that says what to change.
        ClusterError: the cluster cannot be reached or cannot hold one trial.
        OutputError: the results cannot be written.
    """
    question, means = question or Question(), means or Means()
    address = choose_address(means.address)
    data, out = data.absolute(), out.absolute()
    recipes = _recipes(question, overrides, accept)
    plan = _plan(question, recipes)
    if resume:
        _check_resumable(out, plan)
    else:
        _begin(data, out, question, plan, recipes, findings, overwrite=overwrite)
    _write_plan(out, plan)
    with progress.logged_to(out / "log.txt"):
        progress.say(f"{plan.trials} trials: {_words(question, plan)}.")
        proposals = Proposals(plan, _earlier(out))
        failures = _run_all(out, proposals, address, means)
        return conclude(out, plan, failures)


def _recipes(question: Question, overrides: Sequence[str], accept: Sequence[str]) -> dict[str, Recipe]:
    """The settings of every recipe, after each end of every searched space was tried on it."""
    spaces = [Space.parse(text) for text in question.search]
    recipes: dict[str, Recipe] = {}
    for source in question.recipes:
        name = Path(source).stem
        if name in recipes:
            raise UsageError(f"Two recipes are called {name!r}.", "Rename one of the files.")
        for space in spaces:
            for value in space.ends():
                load_settings(source, [*overrides, f"{space.key}={json.dumps(value)}"], None, accept)
        settings = load_settings(source, overrides, None, accept)
        recipes[name] = dataclasses.replace(settings, judge_test=False)
    return recipes


def _plan(question: Question, recipes: dict[str, Recipe]) -> Plan:
    return Plan(
        recipes={name: settings.fingerprint() for name, settings in recipes.items()},
        seeds=tuple(range(question.seeds)),
        folds=question.folds,
        spaces=tuple(Space.parse(text) for text in question.search),
        samples=question.samples,
        measure=question.measure,
        final=question.final,
        base=f"folds {question.fold_seed}",
    )


def _check_resumable(out: Path, plan: Plan) -> None:
    if not (out / PLAN).is_file():
        raise UsageError(f"There is no sweep to resume in {out}.", "Leave out --resume to start one.")
    if not plan.same_but_final(_read_plan(out)):
        raise UsageError(
            f"The sweep in {out} asked something else; its question stands in {PLAN}.",
            "Resume with the command that started it (--final may be added), or choose another --out.",
        )
    (out / rundir.MANIFEST).unlink(missing_ok=True)


def _begin(
    data: Path,
    out: Path,
    question: Question,
    plan: Plan,
    recipes: dict[str, Recipe],
    findings: Sequence[str],
    *,
    overwrite: bool,
) -> None:
    """Audit the films, set the test aside, divide the patients, and write down what the trials need."""
    first = next(iter(recipes.values()))
    rundir.check_folder(out, overwrite=overwrite, resume=False, reads=[data])
    intake = read_dataset(data, findings=findings)
    # Held-out patients must not stand in training whatever a recipe does inside its part.
    split = dataclasses.replace(first.split, unit="patient", films_per_class=0)
    settings = dataclasses.replace(first, split=split)
    passed = pass_gate(intake, data, divide(intake, split, first.train.seed), settings)
    rundir.prepare_folder(out, overwrite=overwrite, resume=False)
    films = _development(intake, passed.division, data)
    fold_of = assign_folds(films.records, question.folds, question.fold_seed)
    columns = films.table()
    del columns["split"]
    write_table(out / FILMS, {**columns, FOLD: np.array([fold_name(fold) for fold in fold_of], dtype=object)})
    rundir.write_json(out / AUDIT, passed.facts)
    for name, recipe in recipes.items():
        rundir.write_text(out / RECIPES / f"{name}.toml", recipe.to_toml())
    rundir.write_json(out / PLAN, {"plan": plan.to_dict(), "findings": list(intake.classes * intake.is_multi_label)})
    sealed = len(passed.division.of("test"))
    progress.say(f"{len(films.records)} films to learn and judge from; {sealed} test films stay sealed.")


def _development(intake: Intake, division: Division, data: Path) -> Division:
    """The films of train and validation; patients who share a copy of a film count as one."""
    records = [*division.of("train"), *division.of("validation")]
    scan = scan_films(dataclasses.replace(intake, records=tuple(records)), data)
    pairs = [(pair.first, pair.second) for pair in find_pairs(scan) if pair.kind != "near"]
    patients = joined_patients([record.patient for record in scan.records], pairs)
    joined = {record.path: patient for record, patient in zip(scan.records, patients, strict=True)}
    films = [dataclasses.replace(r, patient=joined.get(r.path, r.patient), split="") for r in records]
    return Division(tuple(sorted(films, key=lambda record: record.path.as_posix())), ())


def _write_plan(out: Path, plan: Plan) -> None:
    facts = json.loads((out / PLAN).read_text("utf-8"))
    rundir.write_json(out / PLAN, {**facts, "plan": plan.to_dict()})


def _read_plan(out: Path) -> Plan:
    return Plan.from_dict(json.loads((out / PLAN).read_text("utf-8"))["plan"])


def _earlier(out: Path) -> dict[Trial, float | None]:
    folders = sorted(path.parent for path in (out / TRIALS).glob(f"*/{TRIAL}"))
    measure = _read_plan(out).measure
    return {read_trial(folder): _value_of(folder, measure) for folder in folders}


def _value_of(folder: Path, measure: str) -> float | None:
    """What a trial reached; None without a result, NaN where its validation patients could not say."""
    if not (folder / RESULT).is_file():
        return None
    value = json.loads((folder / RESULT).read_text("utf-8"))["measures"][measure]
    return float("nan") if value is None else float(value)


def _run_all(out: Path, proposals: Proposals, address: str, means: Means) -> dict[str, str]:
    """Run every trial; returns why some have no result, by key."""
    measure = proposals.plan.measure

    def folder_of(trial: Trial) -> Path:
        return out / TRIALS / trial.key

    def begin(trial: Trial) -> None:
        rundir.write_json(folder_of(trial) / TRIAL, trial.to_dict())

    def value_of(trial: Trial) -> float | None:
        value = _value_of(folder_of(trial), measure)
        if value is not None:
            progress.say(f"{trial.key}: {measure.replace('_', ' ')} {value:.4f}")
        return value

    if address == POOL:
        _share_processors(means.parallel)
        command = python_module("cxray.workflow.cluster_trial")
        return SweepPool(command, folder_of, value_of, restarts=means.restarts).run(proposals, means.parallel, begin)
    with connected(address, feature="A sweep on a cluster", cpus=means.cpus) as cluster:
        from cxray.cluster.sweep_ray import check_room, run_on_ray

        needs = {"CPU": float(means.cpus), "GPU": float(means.gpus)}
        check_room(cluster, needs)
        check_nodes(cluster, modules=NODE_MODULES, extra="cluster,train", folder=out)
        return run_on_ray(run_trial, proposals, begin, folder_of, value_of, needs=needs, restarts=means.restarts)


def _share_processors(parallel: int) -> None:
    if parallel > (os.cpu_count() or 1):
        progress.say(f"Warning: {parallel} trials at a time on {os.cpu_count()} processors slow each other down.")


def _words(question: Question, plan: Plan) -> str:
    parts = [f"{len(plan.recipes)} recipes", f"{question.folds} folds{' and all patients' * question.final}"]
    parts += [f"{question.samples} settings each"] * bool(plan.spaces) + [f"{question.seeds} seeds"]
    return " × ".join(parts)
