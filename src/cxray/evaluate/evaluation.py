"""A finished judgement: records, the tables behind every exhibit, and facts. It can save itself.

A report draws only from this object and computes nothing. `evaluation.json` follows the house's contract (schema 1);
every table is also written as CSV.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from cxray.errors import DataError, UsageError
from cxray.evaluate.record import Record
from cxray.rundir import write_json
from cxray.tables import read_table, write_table

SCHEMA = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """What every finished judgement is made of, and how it is saved.

    `records` hold every number, `tables` maps an exhibit's name to its columns (equally long arrays), `facts` is
    JSON-able.
    """

    records: tuple[Record, ...]
    tables: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]
    facts: Mapping[str, Any]

    file_name: ClassVar[str] = "judgement.json"

    def record(self, name: str, label: str | None = None, slice: str = "") -> Record:  # noqa: A002 - the contract's word
        """The record called `name`; `label` may be left out when one class or finding has it.

        Raises:
            DataError: there is no such record, or several labels have it.
        """
        found = [
            record
            for record in self.records
            if record.name == name and record.slice == slice and label in (None, record.label)
        ]
        if len(found) != 1:
            labels = ", ".join(repr(record.label) for record in found)
            raise DataError(
                f"There are {len(found)} records named {name!r} for label {label!r} and slice {slice!r}.",
                f"Give one of the labels {labels}." if found else "",
            )
        return found[0]

    def save(self, folder: Path) -> None:
        """Write the JSON file and `tables/<name>.csv` into `folder`; each file whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        for name, columns in self.tables.items():
            write_table(folder / "tables" / f"{name}.csv", {key: np.asarray(value) for key, value in columns.items()})
        write_json(folder / self.file_name, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `save` wrote into `folder`; a column whose cells are all numbers or empty comes back as numbers.

        Raises:
            UsageError: there is no such judgement in `folder`.
            DataError: it is damaged, or was made by a newer version.
        """
        path = folder / cls.file_name
        if not path.is_file():
            raise UsageError(f"There is no {cls.file_name} in {folder}.", "Give the folder that the command wrote.")
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["schema"] > SCHEMA:
                raise DataError(f"{path} was made by a newer cxray (schema {content['schema']}).", "Upgrade cxray.")
            records = tuple(Record.from_dict(row) for row in content["records"])
            files = {str(name): folder / "tables" / f"{name}.csv" for name in content["tables"]}
            return cls(records, {name: _read_columns(file) for name, file in files.items()}, content["facts"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {type(error).__name__} {error}.", "Judge again.") from error

    def to_dict(self) -> dict[str, Any]:
        """What the JSON file holds: schema, facts, records and the names of the tables, which lie beside it."""
        return {
            "schema": SCHEMA,
            "facts": dict(self.facts),
            "records": [record.to_dict() for record in self.records],
            "tables": sorted(self.tables),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation(Judgement):
    """The judgement of one table, saved as `evaluation.json`.

    In every table `label` names the class or finding. `facts` tells classes, positive, films, patients, unscored films
    with reasons, the threshold with its policy and table hash, the judged table's SHA-256 and all warnings.
    """

    file_name: ClassVar[str] = "evaluation.json"


def _read_columns(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        columns = read_table(path)
    except DataError as error:
        if path.is_file() and "no rows" in error.message:
            return {}
        raise
    return {name: _typed(column) for name, column in columns.items()}


def _typed(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    try:
        return np.where(column == "", "nan", column).astype(np.float64)
    except ValueError:
        return column


def stack(parts: list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]]) -> dict[str, np.ndarray[Any, Any]]:
    """One table from several of the same columns, with `label` as the first column."""
    lengths = [len(next(iter(columns.values()))) for _, columns in parts]
    labels = [np.full(length, label, dtype=object) for length, (label, _) in zip(lengths, parts, strict=True)]
    names = parts[0][1]
    return {
        "label": np.concatenate(labels),
        **{name: np.concatenate([columns[name] for _, columns in parts]) for name in names},
    }
