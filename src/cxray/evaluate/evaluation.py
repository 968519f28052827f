"""A finished judgement: records, the tables behind every exhibit, and facts. It can save itself.

A report draws only from this object and computes nothing. `evaluation.json` follows the house's contract (schema 1);
every table is also written as CSV.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cxray.errors import DataError
from cxray.evaluate.record import Record
from cxray.rundir import write_json
from cxray.tables import write_table

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


def stack(parts: list[tuple[str, Mapping[str, np.ndarray[Any, Any]]]]) -> dict[str, np.ndarray[Any, Any]]:
    """One table from several of the same columns, with `label` as the first column."""
    lengths = [len(next(iter(columns.values()))) for _, columns in parts]
    labels = [np.full(length, label, dtype=object) for length, (label, _) in zip(lengths, parts, strict=True)]
    names = parts[0][1]
    return {
        "label": np.concatenate(labels),
        **{name: np.concatenate([columns[name] for _, columns in parts]) for name in names},
    }
