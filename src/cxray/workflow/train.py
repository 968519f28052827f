"""`cxray train`: from a folder of films to a finished run.

    intake → division (splits.csv) → prepared films → fit → bundle → predictions/validation.csv → judgement → report →
    manifest.json, written last

The test films are listed in `splits.csv`. The audit at the gate reads them only to recognise patients and copies that
would leak (see `audit_gate`); nothing else of them is looked at. Only a recipe that says `judge_test` (the article's)
has them scored, after the bundle is closed, so nothing in it can depend on them.
"""

from __future__ import annotations

import dataclasses
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxray import extras, progress, rundir
from cxray.bundle import Bundle
from cxray.config import Recipe
from cxray.data.intake import Intake, read_dataset
from cxray.data.split import Division, divide
from cxray.errors import ConfigError, SplitError
from cxray.records import Predictions
from cxray.runtime.stress import stress_warnings
from cxray.workflow.audit_gate import Passed, pass_gate
from cxray.workflow.run_films import RunFilms
from cxray.workflow.run_order import Order, check_resumable, command_line, load_settings

RUN_FACTS = "run.json"


# (settings, number of logits, training films, validation films, workplace) -> `model.fit.Fit`
Fitting = Callable[[Recipe, int, Any, Any, Any], Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its folder, its bundle, and the facts written to `run.json`."""

    folder: Path
    bundle: Path
    facts: Mapping[str, Any]


def train(
    data: Path,
    out: Path,
    *,
    recipe: str = "default",
    overrides: Sequence[str] = (),
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    findings: Sequence[str] = (),
    accept: Sequence[str] = (),
) -> Run:
    """Train a classifier on `data` and leave a complete run in `out`.

    Args:
        data: `train/ val/ test/ × classes`, plain class folders, or a CSV/TSV/Parquet table.
        out: the run's folder; must be empty unless `resume` or `overwrite`.
        recipe: a shipped recipe's name or a TOML file.
        overrides: settings as `section.key=value`.
        seed: replaces the recipe's seed.
        resume: continue an unfinished run with the same command.
        overwrite: replace an earlier run in `out`.
        tensorboard: also write TensorBoard logs to `out/tensorboard`.
        findings: multi-label columns of a table.
        accept: codes of errors of the audit before training that shall not stop it (`audit_gate.ACCEPTABLE`); bundle
            and reports will name them.

    Raises:
        MissingExtra: TensorFlow is not installed.
        ConfigError, DataError, LabelError, SplitError: with the sentence that says what to change.
        OutputError: the run cannot be written.
    """
    settings = load_settings(recipe, overrides, seed, accept)
    command = command_line("train", data, out, recipe, overrides, seed=seed, findings=findings, accept=accept)
    order = Order(
        data, out, settings, command, tuple(findings), resume=resume, overwrite=overwrite, tensorboard=tensorboard
    )
    return carry_out(order)


def carry_out(order: Order, fit: Fitting | None = None) -> Run:
    """Audit, divide, train and judge as `order` says; `fit` replaces the recipe's own way of training.

    Raises:
        As `train`.
    """
    started = time.monotonic()
    if order.tensorboard:
        extras.require("tensorboard", "tensorboard", "Writing TensorBoard logs")
    if order.resume:
        check_resumable(order.out, order.settings)
    settings, intake = order.settings, read_dataset(order.data, findings=order.findings)
    _positive(settings, intake, order.data)
    reads = [order.data, *(record.path for record in intake.records)] if order.overwrite else []
    rundir.check_folder(order.out, overwrite=order.overwrite, resume=order.resume, reads=reads)
    passed = pass_gate(intake, order.data, divide(intake, settings.split, settings.train.seed), settings)
    return train_divided(order, intake, passed, fit=fit, started=started)


def train_divided(
    order: Order, intake: Intake, passed: Passed, *, fit: Fitting | None = None, started: float | None = None
) -> Run:
    """The run behind the gate: `passed` holds the division to train on and what the audit said.

    Raises:
        As `train`.
    """
    positive = _positive(order.settings, intake, order.data)
    rundir.prepare_folder(order.out, overwrite=order.overwrite, resume=order.resume)
    # Before the films are prepared, which can take minutes: a run that dies there can be resumed.
    rundir.write_text(order.out / "config.toml", order.settings.to_toml())
    with progress.logged_to(order.out / "log.txt"):
        films = RunFilms.prepare(passed.division, order.settings)
        journey = _Journey(order, intake, passed, films, positive, fit or _own_fit(order.settings))
        return journey.walk(time.monotonic() if started is None else started)


def _own_fit(settings: Recipe) -> Fitting:
    """The way of training that the recipe names."""
    if settings.train.method == "linear_probe":
        from cxray.model.probe import fit_probe

        return fit_probe
    if settings.train.members > 1:
        from cxray.model.ensemble import fit_members

        return fit_members
    from cxray.model.train import fit

    return fit


def _positive(settings: Recipe, intake: Intake, data: Path) -> str:
    wanted = settings.decision.positive
    if intake.is_multi_label:
        return ""
    if wanted and wanted not in intake.classes:
        raise ConfigError(
            f"decision.positive is {wanted!r}, which is no class of {data}.",
            f"Classes: {', '.join(intake.classes)}.",
        )
    # The article labels NORMAL 0 and PNEUMONIA 1: the last in alphabetical order. With more nobody can guess.
    return wanted or (intake.classes[-1] if len(intake.classes) == 2 else "")


@dataclasses.dataclass(frozen=True, eq=False)
class _Journey:
    """One run, after its films were prepared; `walk` does the rest in order."""

    order: Order
    intake: Intake
    passed: Passed
    films: RunFilms
    positive: str
    fit: Fitting

    @property
    def out(self) -> Path:
        """The run's folder."""
        return self.order.out

    @property
    def settings(self) -> Recipe:
        """Everything that decides the run, apart from the films."""
        return self.order.settings

    @property
    def division(self) -> Division:
        """The films, divided."""
        return self.passed.division

    def walk(self, started: float) -> Run:
        from cxray.model.assemble import Subject

        subject = Subject("findings" if self.intake.is_multi_label else "classes", self.intake.classes, self.positive)
        self._check_classes()
        self.division.write(self.out / "splits.csv")
        self._announce()
        fit, bundle, validation = self._train(subject)
        validation.write(self.out / "predictions" / "validation.csv")
        facts = self._facts(fit, bundle, started)
        rundir.write_json(self.out / RUN_FACTS, facts)
        self._judge(bundle, validation, facts, fit.history)
        self._close(facts)
        return Run(self.out, bundle.folder, facts)

    def _train(self, subject: Any) -> tuple[Any, Bundle, Predictions]:
        from cxray.model.assemble import Material, assemble, film_set_fingerprint
        from cxray.model.fit import Workplace

        training, validation = (
            self.films.labelled(split, self.settings, self.intake) for split in ("train", "validation")
        )
        place = Workplace(
            self.out,
            self.films.run_fingerprint(self.settings),
            resume=self.order.resume,
            tensorboard=self.order.tensorboard,
        )
        trained = self.fit(self.settings, len(subject.classes), training, validation, place)
        provenance = {
            "data": {
                "fingerprint": film_set_fingerprint(self.films.prepared.digests),
                "films": {split: len(rows) for split, rows in self.films.records.items()},
                "patients": {split: len({r.patient for r in rows}) for split, rows in self.films.records.items()},
                "identity": dataclasses.asdict(self.intake.identity),
            },
            "audit": dict(self.passed.facts),
            "metrics": _without_nan(dataclasses.asdict(trained.best)) if trained.best else {},
            "weights": trained.network.weights,
            "members": trained.members,
        }
        bundle, table = assemble(
            trained,
            self.settings,
            subject,
            Material(training, validation, self.films.records["validation"]),
            folder=self.out / "bundle",
            provenance=provenance,
        )
        for sentence in stress_warnings(bundle.facts["stress"]):
            progress.say(f"Warning: {sentence}")
        return trained, bundle, table

    def _check_classes(self) -> None:
        if self.intake.is_multi_label:
            return
        for split, records in self.films.records.items():
            missing = set(self.intake.classes) - {record.label for record in records}
            if missing:
                raise SplitError(
                    f"The {split} split has no readable film of class {sorted(missing)[0]!r}.",
                    "Add films of that class, or remove the class.",
                )

    def _announce(self) -> None:
        counts = ", ".join(f"{len(rows)} {split}" for split, rows in self.films.records.items())
        sealed = len(self.division.of("test"))
        progress.say(
            f"Recipe {self.settings.name}, seed {self.settings.train.seed}: {counts} films; {sealed} test films sealed."
        )
        identity = self.intake.identity
        progress.say(
            f"Patients: {identity.n_patients}, told apart by {identity.reason} (confidence: {identity.confidence})."
        )
        classes = self.intake.counts()
        progress.say("; ".join(f"{split or 'films'}: {row}" for split, row in classes.items()).replace("'", ""))
        for reason, count in self.intake.passed_over.items():
            progress.say(f"Passed over: {count} × {reason}.")
        for note in self.division.notes:
            progress.say(note)

    def _facts(self, fit: Any, bundle: Bundle, started: float) -> dict[str, Any]:
        from cxray.model.history import describe_overfitting

        notes = [*self.division.notes, describe_overfitting(fit.history)]
        if fit.members > 1:
            notes.append(
                f"The model is the mean of {fit.members} networks of this recipe, each trained from a seed of its own; "
                "the curves are their mean."
            )
        if fit.network.weights != self.settings.model.weights and self.settings.model.backbone not in (
            "small_cnn",
            "article_cnn",
        ):
            notes.append("ImageNet weights were not to be had, so the network started from random weights.")
        notes += stress_warnings(bundle.facts["stress"])
        if fit.interrupted:
            notes.append("The training was interrupted; these are the best weights until then.")
        return {
            "recipe": self.settings.name,
            "command": self.order.command,
            "data": str(self.order.data),
            "seed": self.settings.train.seed,
            "backbone": self.settings.model.backbone,
            "weights": fit.network.weights,
            "devices": fit.devices,
            "members": fit.members,
            "seconds": round(time.monotonic() - started, 1),
            "interrupted": fit.interrupted,
            "best_epoch": fit.best.epoch if fit.best else None,
            "splits": _split_counts(self.division),
            "unreadable": [list(pair) for pair in self.films.unreadable],
            "passed_over": dict(self.intake.passed_over),
            "identity": dataclasses.asdict(self.intake.identity),
            "audit": dict(self.passed.facts),
            "stress": list(bundle.facts["stress"]),
            "notes": [note for note in notes if note],
            "versions": bundle.facts["versions"],
            "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "bundle": {
                "id": bundle.identifier,
                "thresholds": bundle.facts["thresholds"],
                "calibration": bundle.facts["calibration"],
            },
        }

    def _judge(self, bundle: Bundle, validation: Predictions, facts: Mapping[str, Any], history: Any) -> None:
        from cxray.evaluate.summary import evaluate
        from cxray.report.run_page import write_run_report
        from cxray.workflow.samples import sample_sheet

        judgement = evaluate(validation, positive=bundle.positive, source="predictions/validation.csv")
        judgement.save(self.out / "evaluation" / "validation")
        test = self._open_test(bundle) if self.settings.judge_test and self.division.of("test") else None
        samples = sample_sheet(self.films.records["train"], self.films.prepared, self.films.indices["train"])
        rundir.write_bytes(self.out / "samples.png", samples)
        write_run_report(self.out, facts, history, judgement, test, samples)

    def _open_test(self, bundle: Bundle) -> Any:
        """The recipe asks for the test films; the bundle is closed, so they can no longer change it."""
        from cxray.evaluate.summary import evaluate
        from cxray.runtime.predict import Predictor
        from cxray.workflow import openings

        predictor = Predictor.for_streams(bundle.folder)
        table = predictor.predict(self.division.of("test"), what="Scoring the test films")
        table.write(self.out / "predictions" / "test.csv")
        judgement = evaluate(table, positive=bundle.positive, source="predictions/test.csv")
        openings.note(table, source="predictions/test.csv", purpose="train")
        judgement.save(self.out / "evaluation" / "test")
        return judgement

    def _close(self, facts: Mapping[str, Any]) -> None:
        if not facts["interrupted"]:  # an interrupted run may still be resumed
            for state in [self.out / "checkpoint", *self.out.glob("members/*/checkpoint")]:
                shutil.rmtree(state, ignore_errors=True)
        rundir.write_manifest(
            self.out,
            {
                "kind": "run",
                "recipe_fingerprint": self.settings.fingerprint(),
                "run_fingerprint": self.films.run_fingerprint(self.settings),
                "interrupted": facts["interrupted"],
            },
        )


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: an undefined measure is null."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}


def _split_counts(division: Division) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for split in ("train", "validation", "test", ""):
        records = division.of(split)
        if not records:
            continue
        labels = [
            r.label or name for r in records for name in ([""] if r.label else [n for n, v in r.findings.items() if v])
        ]
        counts[split or "unused"] = {
            "films": len(records),
            "patients": len({record.patient for record in records}),
            "classes": {name: labels.count(name) for name in sorted(set(labels))},
        }
    return counts
