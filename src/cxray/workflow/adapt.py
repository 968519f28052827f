"""`cxray adapt`: fit a finished model to local films with known answers, and say honestly what that bought.

    local films → the unchanged model's logits and features → every method fitted on four fifths of the patients and
    tried on the rest → paired comparison of the out-of-fold scores → the best method →
    fitted on all films → a new bundle

Everything reported comes from patients that took no part in the fit. Local films marked `test` stay sealed.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxray import bundle as bundles
from cxray import progress, rundir
from cxray.bundle import Bundle
from cxray.data.intake import read_dataset
from cxray.data.prepare import as_model_input, prepare_file
from cxray.errors import DataError, UsageError
from cxray.evaluate import calibration
from cxray.evaluate.comparison import Comparison, compare
from cxray.evaluate.screening import fingerprint
from cxray.evaluate.thresholds import DEFAULT_POLICY
from cxray.explain.head import LinearHead, NoLinearHead, read_head
from cxray.records import ImageRecord, Predictions
from cxray.report.comparison_page import write_comparison_report
from cxray.runtime import adaptation
from cxray.runtime.adaptation import AS_IS, HEAD, METHODS, PENALTIES, RECALIBRATE, THRESHOLD, Change, LocalFilms
from cxray.runtime.engine import open_engine
from cxray.runtime.familiar import local_gate
from cxray.runtime.predict import Answer, Predictor, as_table
from cxray.runtime.rehead import write_with_head
from cxray.tables import text_column

FOLDS = 5
# Below this many patients a class, a fifth of them says nothing.
FEWEST_PATIENTS = 10
_TINY = 1e-12

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Adapted:
    """A new bundle, the method it was made with, and the judgement of all methods on out-of-fold scores."""

    bundle: Path
    method: str
    comparison: Comparison
    facts: Mapping[str, Any]


def adapt(
    bundle: Path,
    data: Path,
    out: Path,
    *,
    method: str = "auto",
    policy: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> Adapted:
    """Make a bundle that fits the films of `data`, and judge what the change is worth.

    Args:
        bundle: the finished model.
        data: labelled local films; those of a `test` split are left out.
        out: gets `bundle/`, `predictions/<method>.csv` (out-of-fold), `comparison.json`, `report.html`.
        method: "threshold", "recalibrate", "head", or "auto": the one with the smallest log loss out-of-fold, and of
            equals the simplest.
        policy: threshold policy; default the bundle's own.
        seed: draws the folds.

    Raises:
        UsageError: no such method, or one that this bundle does not allow.
        DataError: too few patients of a class, unlabelled films, or classes that the model does not know.
    """
    if method not in ("auto", THRESHOLD, RECALIBRATE, HEAD):
        raise UsageError(
            f"There is no method {method!r} of adaptation.", "Choose auto, threshold, recalibrate or head."
        )
    rundir.check_folder(out, overwrite=overwrite, reads=[bundle, data])
    predictor = Predictor.for_streams(bundle)
    local = _Local.read(predictor, data)
    trial = _Trial.run(local, policy or _policy(predictor.bundle), _allowed(local, method), seed)
    comparison = compare(trial.tables, positive=predictor.bundle.positive, seed=seed)
    chosen = trial.choose() if method == "auto" else method
    rundir.prepare_folder(out, overwrite=overwrite)
    for name, table in trial.tables.items():
        table.write(out / "predictions" / f"{name}.csv")
    comparison.save(out)
    write_comparison_report(comparison, out)
    facts = _close(local, trial, chosen, out / "bundle")
    rundir.write_manifest(out, {"kind": "adaptation", "method": chosen, "bundle": str(bundle), "data": str(data)})
    return Adapted(out / "bundle", chosen, comparison, facts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Local:
    """Local films as the unchanged model sees them; `head` is None where the graph has no linear one."""

    predictor: Predictor
    films: LocalFilms
    table: Predictions
    head: LinearHead | None

    @property
    def bundle(self) -> Bundle:
        return self.predictor.bundle

    @classmethod
    def read(cls, predictor: Predictor, data: Path) -> _Local:
        bundle = predictor.bundle
        answers = _answers(predictor, _local_records(bundle, data))
        _check_patients(bundle, answers)
        table = dataclasses.replace(as_table(bundle, answers), split=text_column("validation" for _ in answers))
        exclusive = bundle.task == "classes"
        scores = np.clip(table.scores, _TINY, 1 - _TINY)
        # Any vector that gives the scores will do: softmax does not mind a constant added to all of a film's logits.
        logits = np.log(scores) if exclusive else calibration.logit(scores)
        features = np.stack([np.asarray(answer.features, dtype=np.float64) for answer in answers])
        try:
            head: LinearHead | None = read_head(bundle.graph)
        except NoLinearHead as error:
            progress.say(f"This model's head stays as it is: {error}")
            head = None
        return cls(predictor, LocalFilms(logits, features, _wanted(table), exclusive), table, head)


def _local_records(bundle: Bundle, data: Path) -> list[ImageRecord]:
    findings = bundle.classes if bundle.task == "findings" else ()
    records = [record for record in read_dataset(data, findings=findings).records if record.split != "test"]
    unknown = {record.label for record in records if record.label} - set(bundle.classes)
    if unknown and bundle.task == "classes":
        raise DataError(
            f"{data} has films of class {sorted(unknown)[0]!r}, which the model does not know.",
            f"Its classes: {', '.join(bundle.classes)}.",
        )
    labelled = [record for record in records if record.label or record.findings]
    if len(labelled) < len(records):
        progress.say(f"Passed over: {len(records) - len(labelled)} × film without a label.")
    return labelled


def _answers(predictor: Predictor, records: Sequence[ImageRecord]) -> list[Answer]:
    stream = predictor.stream(records, keep_features=True)
    answers = list(progress.track(stream, total=len(records), what="Reading local films"))
    for answer in answers:
        if answer.error:
            progress.say(f"Left out: {answer.error}")
    return [answer for answer in answers if not answer.error]


def _check_patients(bundle: Bundle, answers: Sequence[Answer]) -> None:
    names = bundle.classes
    for name in names:
        for wanted, said in ((True, "with"), (False, "without")):
            ill = {a.record.patient or str(a.record.path) for a in answers if _has(a.record, name) is wanted}
            if len(ill) < FEWEST_PATIENTS:
                raise DataError(
                    f"Adapting needs films of at least {FEWEST_PATIENTS} patients {said} {name!r}, got {len(ill)}.",
                    "Collect more local films; until then `cxray evaluate` shows what the model does there.",
                )


def _has(record: ImageRecord, name: str) -> bool | None:
    return record.findings.get(name) if record.findings else record.label == name


def _wanted(table: Predictions) -> Floats:
    if table.findings is not None:
        return table.findings
    return np.array([[float(label == name) for name in table.classes] for label in table.label])


def _allowed(local: _Local, method: str) -> tuple[str, ...]:
    if local.head is not None:
        return METHODS
    if method in (HEAD, RECALIBRATE):
        raise UsageError(f"--method {method} needs a linear head, which this model has not.", "Use --method threshold.")
    return (AS_IS, THRESHOLD)


def _policy(bundle: Bundle) -> str:
    points = list(bundle.thresholds.values())
    return points[0].policy if points else DEFAULT_POLICY


@dataclasses.dataclass(frozen=True, eq=False)
class _Trial:
    """Every method's out-of-fold predictions (`tables`) and log loss a film (`losses`)."""

    tables: Mapping[str, Predictions]
    losses: Mapping[str, Floats]
    patient: npt.NDArray[np.int64]
    policy: str

    @classmethod
    def run(cls, local: _Local, policy: str, methods: Sequence[str], seed: int) -> _Trial:
        patient = _patient_codes(local.table)
        fold = _folds(patient, seed)
        tables, losses = {}, {}
        for method in methods:
            logits = np.empty_like(local.films.logits)
            decision = np.full(len(local.films), "", dtype=object)
            for number in range(FOLDS):
                held, seen = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
                change = _fitted(method, local.films.of(seen), patient[seen], seed)
                logits[held] = change.applied(local.films.of(held))
                scores = bundles.to_probabilities(change.applied(local.films.of(seen)), local.bundle.task)
                judge = local.bundle if method == AS_IS else _with_thresholds(local, scores, seen, policy)
                decision[held] = judge.decide(bundles.to_probabilities(logits[held], local.bundle.task))
            scores = bundles.to_probabilities(logits, local.bundle.task)
            tables[method] = dataclasses.replace(local.table, scores=scores, decision=decision)
            losses[method] = _film_losses(local.films, logits)
        return cls(tables, losses, patient, policy)

    def choose(self) -> str:
        """The method with the smallest mean log loss; of equals the simplest."""
        candidates = [method for method in METHODS if method in self.losses and method != AS_IS]
        return min(candidates, key=lambda method: float(self.losses[method].mean()))


def _fitted(method: str, films: LocalFilms, patient: npt.NDArray[np.int64], seed: int) -> Change:
    if method != HEAD:
        return adaptation.fit_change(method, films)
    fold = _folds(np.unique(patient, return_inverse=True)[1], seed + 1)

    def loss(penalty: float) -> float:
        total = 0.0
        for number in range(FOLDS):
            held, seen = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            change = adaptation.fit_change(HEAD, films.of(seen), penalty)
            total += len(held) * films.of(held).loss(change.applied(films.of(held)))
        return total

    return adaptation.fit_change(HEAD, films, min(PENALTIES, key=loss))


def _film_losses(films: LocalFilms, logits: Floats) -> Floats:
    return np.array([films.of(np.array([row])).loss(logits[row : row + 1]) for row in range(len(films))])


def _with_thresholds(local: _Local, scores: Floats, rows: npt.NDArray[np.int64], policy: str) -> Bundle:
    """The bundle with operating points chosen on the `scores` of some of the local films."""
    from cxray.model.assemble import Subject, choose_thresholds

    bundle = local.bundle
    table = dataclasses.replace(local.table.select(rows), scores=scores)
    subject = Subject(bundle.task, bundle.classes, bundle.positive)
    return dataclasses.replace(bundle, thresholds=choose_thresholds(table, policy, subject, fingerprint(table)))


def _close(local: _Local, trial: _Trial, method: str, folder: Path) -> dict[str, Any]:
    """Write the new bundle: graph, golden film, gate, facts."""
    source = local.bundle
    change = _fitted(method, local.films, trial.patient, 0)
    folder.mkdir(parents=True)
    for name in (bundles.GOLDEN, bundles.REFERENCE):
        if (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, folder / name)
    if local.head is None or method == THRESHOLD:
        shutil.copyfile(source.graph, folder / bundles.GRAPH)
    else:
        weights = change.slope * local.head.weights + change.weights
        write_with_head(source.graph, folder / bundles.GRAPH, weights, change.slope * local.head.bias + change.bias)
    table = trial.tables[method]
    # Chosen on out-of-fold scores: those of the films that the head was fitted on are too good.
    points = _with_thresholds(local, table.scores, np.arange(len(table)), trial.policy).thresholds
    gate = local_gate(local.predictor, local.films.features, folder)
    facts = {
        **{key: value for key, value in source.facts.items() if key not in ("schema", "files", "metrics")},
        "thresholds": {name: point.to_dict() for name, point in points.items()},
        "calibration": {"method": method, "split": "validation", "table_sha256": fingerprint(table)},
        "golden": _golden(folder, source),
        "gate": gate,
        "adapted": _adaptation_facts(local, trial, method),
    }
    bundles.save_facts(folder, facts)
    Predictor.open(folder, "onnxruntime")
    return facts


def _golden(folder: Path, source: Bundle) -> dict[str, Any]:
    film = as_model_input(prepare_file(folder / bundles.GOLDEN, source.card)[np.newaxis])
    logits = open_engine(folder / bundles.GRAPH, "onnxruntime").run(film)["logits"]
    scores = source.probabilities(logits)[0]
    return {**source.facts["golden"], "logits": [float(v) for v in logits[0]], "scores": [float(v) for v in scores]}


def _adaptation_facts(local: _Local, trial: _Trial, method: str) -> dict[str, Any]:
    return {
        "from": local.bundle.identifier,
        "method": method,
        "films": len(local.films),
        "patients": len(np.unique(trial.patient)),
        "folds": FOLDS,
        "log_loss_out_of_fold": {name: float(values.mean()) for name, values in trial.losses.items()},
    }


def _patient_codes(table: Predictions) -> npt.NDArray[np.int64]:
    names = [patient or f"film {path}" for patient, path in zip(table.patient, table.path, strict=True)]
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)


def _folds(patient: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """A fold 0 … FOLDS-1 a film, whole patients together."""
    patients = int(patient.max()) + 1
    return np.asarray(np.random.default_rng([seed, 11]).permutation(patients)[patient] % FOLDS, dtype=np.int64)
