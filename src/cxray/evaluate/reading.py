"""A table of readers' marks in, their agreement and a multi-reader study out.

One row a mark, long form: `path` (the case), `reader`, `mark` (a word, or a number: larger = more ill), and optionally
`mode` (for example without and with the model), `label` (the truth) and `patient`. Words are judged for agreement and,
with truth, for sensitivity and specificity; numbers for AUROC and, with two modes, by Obuchowski-Rockette-Hillis.
Cases that a reader did not mark in every mode are left out and counted, because both analyses need a full design.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError, UsageError
from cxray.evaluate import clusters, rates
from cxray.evaluate.evaluation import Judgement
from cxray.evaluate.paired import holm
from cxray.evaluate.ranking import auroc_interval
from cxray.evaluate.readers import ReaderStudy, cohen_kappa, fleiss_kappa, multi_reader
from cxray.evaluate.record import LEVEL, Codes, Context, Estimate, Floats, Record, withhold
from cxray.evaluate.resample import PatientBootstrap
from cxray.tables import Column, read_table

_NEEDED = ("path", "reader", "mark")
_MOST_WORDS = 20
_ONLY_MODE = "reading"


@dataclasses.dataclass(frozen=True, eq=False)
class ReaderJudgement(Judgement):
    """The judgement of a reader study, saved as `readers.json`; `slice` names mode and reader."""

    file_name: ClassVar[str] = "readers.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Marks:
    """A full design: `mark` (modes, readers, cases) and `truth` (cases,) as text, "" where unknown, `patient` codes.

    `left_out` are the cases that not every reader marked in every mode.
    """

    modes: tuple[str, ...]
    readers: tuple[str, ...]
    case: Column
    mark: npt.NDArray[Any]
    truth: Column
    patient: Codes
    has_patients: bool
    left_out: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Marks:
        """Read a table of marks.

        Raises:
            DataError: a column is missing, a cell that must not be empty is, a mark is given twice, the truth of a case
                contradicts itself, or no case was marked by every reader in every mode.
        """
        return cls.of(read_table(path), source=path)

    @classmethod
    def of(cls, table: Mapping[str, Column], *, source: Path | str = "the table") -> Marks:
        """Marks from text columns.

        Raises:
            DataError: as `read`.
        """
        missing = [name for name in _NEEDED if name not in table]
        if missing:
            raise DataError(
                f"{source} has no column {missing[0]!r}; its columns are: {', '.join(list(table)[:12])}.",
                "One row a mark: path, reader, mark, and optionally mode, label, patient.",
            )
        rows = len(table["path"])
        for name in ("path", "reader"):
            if (table[name] == "").any():
                row = int(np.flatnonzero(table[name] == "")[0])
                raise DataError(f"{source}, row {row + 2}: the column {name!r} is empty.", "Name case and reader.")
        mode = table.get("mode", np.full(rows, _ONLY_MODE, dtype=object))
        modes, readers = (tuple(dict.fromkeys(column.tolist())) for column in (mode, table["reader"]))
        marks = _by_case(table, mode, source)
        wanted = len(modes) * len(readers)
        full = [case for case, found in marks.items() if sum(mark != "" for mark in found.values()) == wanted]
        if not full:
            raise DataError(
                f"No case of {source} was marked by all {len(readers)} readers in all {len(modes)} modes.",
                "Leave out readers or modes that are incomplete.",
            )
        truth, patient = (_of_case(table, name, full, source) for name in ("label", "patient"))
        return cls(
            modes=modes,
            readers=readers,
            case=np.array(full, dtype=object),
            mark=np.array([[[marks[case][m, r] for case in full] for r in readers] for m in modes], dtype=object),
            truth=truth,
            patient=clusters.codes(patient, len(full)),
            has_patients=bool((patient != "").any()),
            left_out=tuple(case for case in marks if case not in set(full)),
        )

    def check_truth(self) -> None:
        """Refuse what nothing can be said about: more different numbers than agreement can count, and no truth.

        Raises:
            DataError: more than twenty different numbers, and fewer than two labels.
        """
        different = len(set(self.mark.ravel().tolist()))
        if different > _MOST_WORDS and self.numbers() is not None and len(set(self.truth.tolist()) - {""}) < 2:
            raise DataError(
                f"The marks are {different} different numbers, and the table has no truth with two labels.",
                f"Add a column 'label', or group the marks into at most {_MOST_WORDS} steps to judge agreement.",
            )

    def numbers(self) -> Floats | None:
        """The marks as numbers (modes, readers, cases); None when one is a word."""
        try:
            numbers = self.mark.astype(np.float64)
        except ValueError:
            return None
        return numbers if np.isfinite(numbers).all() else None


def judge_readers(marks: Marks, *, positive: str = "", level: float = LEVEL, seed: int = 0) -> ReaderJudgement:
    """Judge readers' marks; `positive` is the label (and mark) that counts as ill, by default the last in order.

    Raises:
        UsageError: `positive` is no label of the table.
        DataError: the marks are more than twenty different words.
    """
    if not 0.5 <= level < 1:
        raise UsageError(f"The confidence level must lie between 0.5 and 1, got {level:g}.", "Use 0.95, for example.")
    numbers = marks.numbers()
    positive = _positive(marks, positive)
    words = sorted(set(marks.mark.ravel().tolist()))
    records: list[Record] = []
    context = Context("", "", level, len(marks.case), clusters.count(marks.patient) if marks.has_patients else 0)
    pairs: list[tuple[Any, ...]] = []
    if len(words) <= _MOST_WORDS:
        records += _agreement(marks, words, context, seed, pairs)
    else:
        _expect_numbers(words, numbers)
    known = np.asarray(marks.truth != "", dtype=bool)
    areas: list[tuple[Any, ...]] = []
    if positive:
        judged = dataclasses.replace(context, label=positive, n_images=int(known.sum()))
        ill = np.asarray(marks.truth[known] == positive, dtype=bool)
        if numbers is not None:
            records += _ranking(marks, numbers[:, :, known], (ill, marks.patient[known]), judged, areas)
        elif positive in words:
            records += _decisions(marks, marks.mark[:, :, known] == positive, (ill, marks.patient[known]), judged)
    facts = {
        "modes": list(marks.modes),
        "readers": list(marks.readers),
        "cases": len(marks.case),
        "cases_left_out": list(marks.left_out[:1000]),
        "cases_without_truth": int((~known).sum()),
        "positive": positive,
        "marks": "numbers" if numbers is not None else "words",
        "level": level,
        "seed": seed,
        "warnings": _warnings(marks, positive),
    }
    return ReaderJudgement(tuple(records), _tables(pairs, areas), facts)


def _expect_numbers(marks: list[str], numbers: Floats | None) -> None:
    if numbers is None:
        words = [mark for mark in marks if not _is_number(mark)]
        others = f" and {len(words) - 1} more" if len(words) > 1 else ""
        raise DataError(
            f"There are {len(marks)} different marks, not all of them numbers: {words[0]!r}{others}.",
            f"Give numbers, or at most {_MOST_WORDS} different words.",
        )


def _is_number(mark: str) -> bool:
    try:
        return bool(np.isfinite(float(mark)))
    except ValueError:
        return False


def _by_case(table: Mapping[str, Column], mode: Column, source: Path | str) -> dict[str, dict[tuple[str, str], str]]:
    marks: dict[str, dict[tuple[str, str], str]] = {}
    for row, key in enumerate(zip(table["path"], mode, table["reader"], strict=True)):
        case, own_mode, reader = map(str, key)
        found = marks.setdefault(case, {})
        if (own_mode, reader) in found:
            raise DataError(
                f"{source}, row {row + 2}: {reader} marks {case} twice in the mode {own_mode!r}.", "Keep one mark."
            )
        found[own_mode, reader] = str(table["mark"][row])
    return marks


def _of_case(table: Mapping[str, Column], name: str, cases: list[str], source: Path | str) -> Column:
    """One cell a case of a column that all rows of the case must agree on; "" where it is not given."""
    if name not in table:
        return np.full(len(cases), "", dtype=object)
    found: dict[str, str] = {}
    for case, cell in zip(table["path"].tolist(), table[name].tolist(), strict=True):
        if cell and found.setdefault(case, cell) != cell:
            raise DataError(f"{source} gives {case} the {name} {found[case]!r} and {cell!r}.", "Correct the table.")
    return np.array([found.get(case, "") for case in cases], dtype=object)


def _positive(marks: Marks, asked: str) -> str:
    labels = sorted(set(marks.truth.tolist()) - {""})
    if asked and asked not in labels:
        raise UsageError(f"There is no label {asked!r}.", f"Labels: {', '.join(labels) or 'none'}.")
    return asked or (labels[-1] if len(labels) >= 2 else "")


def _agreement(
    marks: Marks, words: list[str], context: Context, seed: int, pairs: list[tuple[Any, ...]]
) -> Iterator[Record]:
    codes = np.searchsorted(words, marks.mark.astype(str))
    bootstrap = PatientBootstrap(marks.patient, np.zeros_like(marks.patient), seed=seed)
    for mode, name in enumerate(marks.modes):
        own = dataclasses.replace(context, slice=f"mode={name}")
        if len(marks.readers) < 2:
            yield own.record("fleiss_kappa", withhold("Agreement needs at least two readers."))
            continue
        counts = (codes[mode][:, :, None] == np.arange(len(words))).sum(axis=0)
        yield own.record("fleiss_kappa", _fleiss(counts, bootstrap, context.level))
        for first, second in combinations(range(len(marks.readers)), 2):
            both = f"{marks.readers[first]} with {marks.readers[second]}"
            found = _cohen(codes[mode, first], codes[mode, second], len(words), bootstrap, context.level)
            pairs.append((name, both, float((codes[mode, first] == codes[mode, second]).mean()), found))
            yield dataclasses.replace(own, slice=f"mode={name}, {both}").record("cohen_kappa", found)


def _fleiss(counts: npt.NDArray[np.int64], bootstrap: PatientBootstrap, level: float) -> Estimate:
    value = fleiss_kappa(counts)
    if np.isnan(value):
        return withhold("All readers used one and the same word, so agreement beyond chance cannot be told.")
    number = float(counts[0].sum())
    sums = bootstrap.sums(np.column_stack([(counts**2).sum(axis=1), counts]).astype(np.float64))
    films = sums[:, 1:].sum(axis=1) / number
    observed = (sums[:, 0] / films - number) / (number * (number - 1))
    expected = ((sums[:, 1:] / sums[:, 1:].sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return bootstrap.interval(value, _beyond_chance(observed, expected), level)


def _cohen(first: Codes, second: Codes, words: int, bootstrap: PatientBootstrap, level: float) -> Estimate:
    value = cohen_kappa(first, second)
    if np.isnan(value):
        return withhold("Both readers used one and the same word, so agreement beyond chance cannot be told.")
    cells = np.eye(words * words)[first * words + second]
    sums = bootstrap.sums(cells).reshape(-1, words, words)
    shares = sums / sums.sum(axis=(1, 2), keepdims=True)
    observed = np.trace(shares, axis1=1, axis2=2)
    expected = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
    return bootstrap.interval(value, _beyond_chance(observed, expected), level)


def _beyond_chance(observed: Floats, expected: Floats) -> Floats:
    return np.divide(observed - expected, 1 - expected, out=np.full_like(observed, np.nan), where=expected < 1 - 1e-12)


def _ranking(
    marks: Marks, scores: Floats, judged: tuple[npt.NDArray[np.bool_], Codes], context: Context,
    areas: list[tuple[Any, ...]],
) -> Iterator[Record]:  # fmt: skip
    ill, patient = judged
    for mode, name in enumerate(marks.modes):
        for reader, person in enumerate(marks.readers):
            found = auroc_interval(scores[mode, reader], ill, patient, context.level)
            areas.append((name, person, found))
            yield dataclasses.replace(context, slice=f"mode={name}, reader={person}").record("auroc", found)
    studies = []
    for first, second in combinations(range(len(marks.modes)), 2):
        between = f"{marks.modes[first]} minus {marks.modes[second]}"
        try:
            study = multi_reader(scores[[first, second]], ill, patient, context.level)
        except DataError as error:
            yield dataclasses.replace(context, slice=between).record("auroc_difference", withhold(error.message))
            continue
        studies.append((between, study))
    for (between, study), adjusted in zip(studies, holm([study.p for _, study in studies]), strict=True):
        yield dataclasses.replace(context, slice=between).record("auroc_difference", _difference(study, adjusted))


def _difference(study: ReaderStudy, adjusted: float) -> Estimate:
    found = Estimate(
        study.difference, max(-1.0, study.low), min(1.0, study.high), "Obuchowski-Rockette-Hillis, random readers"
    )
    return found.noting(
        f"F {study.f:.4g} with {study.degrees_of_freedom:.4g} denominator degrees of freedom, P value {study.p:.3g}, "
        f"{adjusted:.3g} after Holm's adjustment."
    )


def _decisions(
    marks: Marks, calls: npt.NDArray[Any], judged: tuple[npt.NDArray[np.bool_], Codes], context: Context
) -> Iterator[Record]:
    ill, patient = judged
    for mode, name in enumerate(marks.modes):
        for reader, person in enumerate(marks.readers):
            own = dataclasses.replace(context, slice=f"mode={name}, reader={person}")
            called = np.asarray(calls[mode, reader], dtype=bool)
            for measure, rate, films in (
                ("sensitivity", rates.sensitivity, ill), ("specificity", rates.specificity, ~ill)
            ):  # fmt: skip
                counted = dataclasses.replace(
                    own,
                    n_images=int(films.sum()),
                    n_patients=clusters.count(patient[films]) if marks.has_patients else 0,
                )
                yield counted.record(measure, rate(called, ill, patient, context.level))


def _warnings(marks: Marks, positive: str) -> list[str]:
    said = []
    if marks.left_out:
        said.append(f"{len(marks.left_out)} cases were not marked by every reader in every mode and are left out.")
    if not marks.has_patients:
        said.append("The table names no patients, so cases are taken as independent.")
    if not positive:
        said.append("The table has no truth with two labels, so only agreement is judged.")
    return said


def _tables(pairs: list[tuple[Any, ...]], areas: list[tuple[Any, ...]]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    tables: dict[str, dict[str, npt.NDArray[Any]]] = {}
    if pairs:
        tables["agreement"] = {
            "mode": np.array([row[0] for row in pairs], dtype=object),
            "readers": np.array([row[1] for row in pairs], dtype=object),
            "same_mark": np.array([row[2] for row in pairs]),
            **_limits("kappa", [row[3] for row in pairs]),
        }
    if areas:
        tables["areas"] = {
            "mode": np.array([row[0] for row in areas], dtype=object),
            "reader": np.array([row[1] for row in areas], dtype=object),
            **_limits("auroc", [row[2] for row in areas]),
        }
    return tables


def _limits(name: str, found: list[Estimate]) -> dict[str, npt.NDArray[Any]]:
    def numbers(part: str) -> Floats:
        return np.array([np.nan if getattr(one, part) is None else getattr(one, part) for one in found], np.float64)

    return {name: numbers("value"), "low": numbers("low"), "high": numbers("high")}
