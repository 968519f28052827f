"""One trial of a sweep: train with one fold of patients held out, then score those patients.

    trial.json, and of the sweep: films.csv, recipes/, audit.json ─► run/ (as `cxray train` leaves it) ─► heldout.csv
    ─► result.json, written last

A trial that is found finished is not run again; one that is found begun goes on from its own checkpoint. Run as
`python -m cxray.workflow.cluster_trial FOLDER` on one machine, or called inside a Ray worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxray import config, rundir
from cxray.cluster.sweep import FINAL, Trial
from cxray.cluster.train_pool import exit_code_of
from cxray.data.intake import Intake, read_dataset
from cxray.data.split import Division, divide
from cxray.errors import OutputError
from cxray.evaluate.ranking import auroc
from cxray.records import ImageRecord, Predictions
from cxray.workflow.audit_gate import Passed
from cxray.workflow.run_order import Order, check_settings
from cxray.workflow.train import Run, train_divided

TRIAL, RESULT, HELDOUT, RUN = "trial.json", "result.json", "heldout.csv", "run"
FILMS, AUDIT, RECIPES, TRIALS = "films.csv", "audit.json", "recipes", "trials"
FOLD = "fold"
_LOOK_AGAIN_SECONDS = 2.0


def run_trial(folder: Path) -> dict[str, Any]:
    """Run the trial that `folder/trial.json` describes; returns what stands in `folder/result.json`.

    Raises:
        OutputError: the sweep's folder cannot be seen from here.
        CxrayError: as `cxray train`.
        KeyboardInterrupt: the training was interrupted; it goes on when the trial is run again.
    """
    if not (folder / TRIAL).is_file():
        raise OutputError(
            f"This machine does not see {folder}.", "Put --out on storage that all nodes share, under the same path."
        )
    with _alone(folder):
        if not (folder / RESULT).is_file():
            rundir.write_json(folder / RESULT, _run(folder))
        facts: dict[str, Any] = json.loads((folder / RESULT).read_text("utf-8"))
        return facts


def read_trial(folder: Path) -> Trial:
    """The trial that a folder was made for."""
    return Trial.from_dict(json.loads((folder / TRIAL).read_text("utf-8")))


def fold_name(fold: int) -> str:
    """The fold as it stands in tables."""
    return f"fold {fold}"


def _run(folder: Path) -> dict[str, Any]:
    started = time.monotonic()
    trial, sweep = read_trial(folder), folder.parents[1]
    settings = config.load_recipe(str(sweep / RECIPES / f"{trial.recipe}.toml"), trial.overrides, seed=trial.seed)
    check_settings(settings)
    plan = json.loads((sweep / "plan.json").read_text("utf-8"))
    intake = read_dataset(sweep / FILMS, findings=plan["findings"])
    held_out = [] if trial.fold == FINAL else _of_fold(intake, trial.fold)
    run = _train(folder / RUN, sweep, settings, _without(intake, held_out))
    measures = _measures(run)
    facts = {"trial": trial.to_dict(), "measures": measures, "best_epoch": run.facts["best_epoch"]}
    if held_out:
        facts["heldout"] = _score(run, held_out, folder / HELDOUT, trial.fold)
    return {**facts, "seconds": round(time.monotonic() - started, 1), "bundle": run.facts["bundle"]["id"]}


def _of_fold(intake: Intake, fold: int) -> list[ImageRecord]:
    return [record for record in intake.records if record.metadata[FOLD] == fold_name(fold)]


def _without(intake: Intake, held_out: Sequence[ImageRecord]) -> Intake:
    """The films to learn from; called train, so that only a validation split is drawn from them."""
    aside = {record.path for record in held_out}
    rest = [dataclasses.replace(record, split="train") for record in intake.records if record.path not in aside]
    return dataclasses.replace(intake, records=tuple(rest))


def _train(out: Path, sweep: Path, settings: config.Recipe, intake: Intake) -> Run:
    if rundir.is_complete(out):
        facts = json.loads((out / "run.json").read_text("utf-8"))
        if not facts["interrupted"]:
            return Run(out, out / "bundle", facts)
        (out / rundir.MANIFEST).unlink()
    resume = any(out.rglob("checkpoint/*.npz"))  # one state, or one for each of several networks
    if out.exists() and not resume:
        shutil.rmtree(out)
    division: Division = divide(intake, settings.split, settings.train.seed)
    passed = Passed(division, json.loads((sweep / AUDIT).read_text("utf-8")))
    order = Order(sweep / FILMS, out, settings, f"one trial of the sweep in {sweep}", resume=resume)
    run = train_divided(order, intake, passed)
    if run.facts["interrupted"]:
        raise KeyboardInterrupt
    return run


def _measures(run: Run) -> dict[str, float | None]:
    """What the kept epoch reached on the trial's own validation patients; None = undefined."""
    from cxray.bundle import load_bundle

    best = load_bundle(run.bundle).facts["metrics"]
    return {name: best.get(name) for name in ("validation_auroc", "validation_loss", "validation_accuracy")}


def _score(run: Run, held_out: Sequence[ImageRecord], path: Path, fold: int) -> dict[str, Any]:
    """Score patients whom neither training nor selection has seen, once everything about the model is settled."""
    from cxray.runtime.predict import Predictor

    predictor = Predictor.open(run.bundle, "onnxruntime")
    records = [dataclasses.replace(record, split="validation", metadata={}) for record in held_out]
    table = predictor.predict(records, what="Scoring held-out patients")
    folds = np.full(len(table), fold_name(fold), dtype=object)
    dataclasses.replace(table, metadata={**table.metadata, FOLD: folds}).write(path)
    return {"films": len(table), "patients": len(set(table.patient)), "auroc": _mean_auroc(table)}


def _mean_auroc(table: Predictions) -> float | None:
    """AUROC of the second of two classes, else the mean over classes or findings; None when none is defined."""
    columns = [1] if table.findings is None and len(table.classes) == 2 else range(len(table.classes))
    areas = []
    for k in columns:
        scored = ~np.isnan(table.scores[:, k])
        if table.findings is None:
            truth = table.label == table.classes[k]
        else:
            scored &= ~np.isnan(table.findings[:, k])
            truth = table.findings[:, k] == 1
        if scored.any() and 0 < truth[scored].sum() < scored.sum():
            areas.append(auroc(table.scores[scored, k], np.asarray(truth[scored], dtype=bool)))
    return None if not areas else math.fsum(areas) / len(areas)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process a trial: an orphan of a killed sweep finishes, and the next one takes over its result."""
    try:
        import fcntl
    except ImportError:  # Windows: no such lock, and no orphans either
        yield
        return
    with (folder / ".lock").open("wb") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOOK_AGAIN_SECONDS)
            except OSError:  # a file system without locks
                break
        yield


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: run_trial(Path(sys.argv[1]))))
