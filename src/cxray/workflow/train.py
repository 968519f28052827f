"""`cxray train`: from a folder of films to a finished run.

    intake → division (splits.csv) → prepared films → fit → bundle → predictions/validation.csv → judgement → report →
    manifest.json, written last

The test films are listed in `splits.csv`. The audit at the gate reads them only to recognise patients and copies that
would leak (see `audit_gate`); nothing else of them is looked at. Only a recipe that says `judge_test` (the article's)
has them scored, after the bundle is closed, so nothing in it can depend on them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import config, extras, progress, rundir
from cxray.bundle import Bundle
from cxray.config import Recipe
from cxray.data.cache import PreparedFilms, prepare_all
from cxray.data.intake import Intake, read_dataset
from cxray.data.split import Division, divide
from cxray.errors import ConfigError, DataError, SplitError, UsageError
from cxray.evaluate.thresholds import Policy
from cxray.records import ImageRecord, Predictions
from cxray.runtime.stress import stress_warnings
from cxray.workflow.audit_gate import check_codes, pass_gate

RUN_FACTS = "run.json"


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
    started = time.monotonic()
    settings = config.load_recipe(recipe, overrides, seed=seed)
    settings = dataclasses.replace(settings, accept=tuple(sorted({*settings.accept, *accept})))
    _check_settings(settings)
    if tensorboard:
        extras.require("tensorboard", "tensorboard", "Writing TensorBoard logs")
    if resume:
        _check_resumable(out, settings)
    intake = read_dataset(data, findings=findings)
    positive = _positive(settings, intake, data)
    rundir.check_folder(out, overwrite=overwrite, resume=resume)
    passed = pass_gate(intake, data, divide(intake, settings.split, settings.train.seed), settings)
    division = passed.division
    rundir.prepare_folder(out, overwrite=overwrite, resume=resume)
    command = _command(data, out, recipe, overrides, seed, findings, accept)
    with progress.logged_to(out / "log.txt"):
        films = _Films.prepare(division, settings)
        journey = _Journey(
            data, out, settings, intake, division, films, positive, command,
            resume=resume, tensorboard=tensorboard, audit=passed.facts,
        )  # fmt: skip
        return journey.walk(started)


def _check_resumable(out: Path, settings: Recipe) -> None:
    """Whether `out` holds an unfinished or interrupted run of the same settings; nothing is written before this.

    Raises:
        UsageError: there is no run, it is finished, or it was started with other settings.
    """
    if not (out / "config.toml").is_file():
        raise UsageError(f"There is no run to resume in {out}.", "Leave out --resume to start one.")
    stored = config.recipe_from_toml((out / "config.toml").read_text("utf-8"), str(out / "config.toml"))
    if stored != settings:
        raise UsageError(
            f"The run in {out} was started with other settings; they stand in its config.toml.",
            "Resume with the command that started it, or choose another --out.",
        )
    if not rundir.is_complete(out):
        return
    if not rundir.read_manifest(out).get("interrupted"):
        raise UsageError(f"The run in {out} is already finished.", "Read its report.html, or choose another --out.")
    (out / rundir.MANIFEST).unlink()


def _command(
    data: Path,
    out: Path,
    recipe: str,
    overrides: Sequence[str],
    seed: int | None,
    findings: Sequence[str],
    accept: Sequence[str],
) -> str:
    """The command line that makes this run, for the report."""
    words = ["cxray", "train", str(data), "--out", str(out), "--recipe", recipe]
    words += ["--seed", str(seed)] if seed is not None else []
    words += [f"--set={override}" for override in overrides]
    words += ["--findings", ",".join(findings)] if findings else []
    words += [f"--accept={code}" for code in accept]
    return shlex.join(words)


def _check_settings(settings: Recipe) -> None:
    """Everything that can be refused before a film is read or a folder made."""
    check_codes(settings.accept)
    if settings.decision.policy != config.NO_POLICY:
        Policy.parse(settings.decision.policy)
    if settings.train.method == "linear_probe":
        from cxray.model.probe import check_probe

        check_probe(settings)
        return
    require_training_libraries()
    from cxray.model.backbones import check_backbone

    check_backbone(settings.model.backbone, min(settings.input.height, settings.input.width))
    if settings.train.frozen_epochs and settings.model.backbone == "article_cnn":
        raise ConfigError("article_cnn has no pre-trained part to freeze, so train.frozen_epochs must be 0.")


def require_training_libraries() -> None:
    """Everything that training will need at any time, asked for before it begins.

    Raises:
        MissingExtra: naming the library that is missing.
    """
    # Keras may be set to another backend by the environment or a file in the home folder; this house is TensorFlow's.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for module in ("keras", "tensorflow", "onnx", "tf2onnx"):
        extras.require(module, "train", "Training")


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
class _Films:
    """Training and validation films that can be read, and those that cannot."""

    records: Mapping[str, list[ImageRecord]]
    indices: Mapping[str, npt.NDArray[np.int64]]
    prepared: PreparedFilms
    unreadable: list[tuple[str, str]]
    ordered: list[ImageRecord]

    @classmethod
    def prepare(cls, division: Division, settings: Recipe) -> _Films:
        ordered = [*division.of("train"), *division.of("validation")]
        prepared = prepare_all(ordered, settings.input)
        unreadable = [(str(ordered[index].path), reason) for index, reason in sorted(prepared.errors.items())]
        if unreadable:
            progress.say(f"Warning: {len(unreadable)} films cannot be read and are left out, for example:")
            progress.say(f"  {unreadable[0][1]}")
        readable = np.flatnonzero(prepared.row_of >= 0)
        split_of = np.array([record.split for record in ordered])
        indices = {split: readable[split_of[readable] == split] for split in ("train", "validation")}
        records = {split: [ordered[index] for index in rows] for split, rows in indices.items()}
        for split, rows in records.items():
            if not rows:
                raise DataError(f"No film of the {split} split can be read.", "See the reasons above.")
        return cls(records, indices, prepared, unreadable, ordered)

    def fingerprint(self) -> str:
        """SHA-256 over the readable films, their labels and splits."""
        lines = [
            f"{self.prepared.digests[index]} {record.split} {record.label} {sorted(record.findings.items())}"
            for split, rows in self.indices.items()
            for index, record in zip(rows, self.records[split], strict=True)
        ]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class _Journey:
    """One run, after its films were prepared; `walk` does the rest in order."""

    data: Path
    out: Path
    settings: Recipe
    intake: Intake
    division: Division
    films: _Films
    positive: str
    command: str
    resume: bool
    tensorboard: bool
    audit: Mapping[str, Any]

    def walk(self, started: float) -> Run:
        from cxray.model.assemble import Subject

        subject = Subject("findings" if self.intake.is_multi_label else "classes", self.intake.classes, self.positive)
        self._check_classes()
        rundir.write_text(self.out / "config.toml", self.settings.to_toml())
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

        if self.settings.train.method == "linear_probe":
            from cxray.model.probe import fit_probe as fit
        else:
            from cxray.model.train import fit
        training, validation = self._labelled("train"), self._labelled("validation")
        place = Workplace(self.out, self._fingerprint(), resume=self.resume, tensorboard=self.tensorboard)
        trained = fit(self.settings, len(subject.classes), training, validation, place)
        provenance = {
            "data": {
                "fingerprint": film_set_fingerprint(self.films.prepared.digests),
                "films": {split: len(rows) for split, rows in self.films.records.items()},
                "patients": {split: len({r.patient for r in rows}) for split, rows in self.films.records.items()},
                "identity": dataclasses.asdict(self.intake.identity),
            },
            "audit": dict(self.audit),
            "metrics": _without_nan(dataclasses.asdict(trained.best)) if trained.best else {},
            "weights": trained.network.weights,
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

    def _labelled(self, split: str) -> Any:
        from cxray.model.films import DecodedFilms, LabelledFilms, film_weights

        records = self.films.records[split]
        targets = _targets(records, self.intake)
        balanced = split == "train" and self.settings.train.class_weights == "balanced"
        source: Any = self.films.prepared
        if not self.settings.train.cache:
            source = DecodedFilms(self.films.ordered, self.settings.input)
        weights = film_weights(targets, len(self.intake.classes), balanced=balanced)
        return LabelledFilms(source, self.films.indices[split], targets, weights, self.settings.input)

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

    def _fingerprint(self) -> str:
        return hashlib.sha256((self.settings.fingerprint() + self.films.fingerprint()).encode()).hexdigest()

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
            "command": self.command,
            "data": str(self.data),
            "seed": self.settings.train.seed,
            "backbone": self.settings.model.backbone,
            "weights": fit.network.weights,
            "devices": fit.devices,
            "seconds": round(time.monotonic() - started, 1),
            "interrupted": fit.interrupted,
            "best_epoch": fit.best.epoch if fit.best else None,
            "splits": _split_counts(self.division),
            "unreadable": [list(pair) for pair in self.films.unreadable],
            "passed_over": dict(self.intake.passed_over),
            "identity": dataclasses.asdict(self.intake.identity),
            "audit": dict(self.audit),
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

        predictor = Predictor.open(bundle.folder)
        table = predictor.predict(self.division.of("test"), what="Scoring the test films")
        table.write(self.out / "predictions" / "test.csv")
        judgement = evaluate(table, positive=bundle.positive, source="predictions/test.csv")
        openings.note(table, source="predictions/test.csv", purpose="train")
        judgement.save(self.out / "evaluation" / "test")
        return judgement

    def _close(self, facts: Mapping[str, Any]) -> None:
        if not facts["interrupted"]:  # an interrupted run may still be resumed
            shutil.rmtree(self.out / "checkpoint", ignore_errors=True)
        rundir.write_manifest(
            self.out,
            {
                "kind": "run",
                "recipe_fingerprint": self.settings.fingerprint(),
                "run_fingerprint": self._fingerprint(),
                "interrupted": facts["interrupted"],
            },
        )


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: an undefined measure is null."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}


def _targets(records: Sequence[ImageRecord], intake: Intake) -> npt.NDArray[Any]:
    """int64 (n,) class numbers, or float32 (n, K) findings with NaN for unknown."""
    if not intake.is_multi_label:
        return np.array([intake.classes.index(record.label) for record in records], dtype=np.int64)
    rows = [[record.findings.get(name) for name in intake.classes] for record in records]
    return np.array([[np.nan if cell is None else float(cell) for cell in row] for row in rows], dtype=np.float32)


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
