import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cxray.data.audit.provenance import check_known
from cxray.data.audit.scan import Scan
from cxray.errors import DataError
from cxray.tables import write_table


def test_films_are_recognised_by_bytes_and_by_hash_whatever_they_are_called(clean_scan: Scan, tmp_path: Path):
    table = clean_scan.files_table()
    known = tmp_path / "films.csv"
    write_table(known, {name: column[:10] for name, column in table.items()})
    same_pixels_other_bytes = np.array([f"{n:064x}" for n in range(len(clean_scan))], dtype=object)
    scan = dataclasses.replace(clean_scan, digests=same_pixels_other_bytes)
    for seen, same_files in ((clean_scan, 10), (scan, 0)):
        found = check_known(seen, [known])[0]
        assert (found.code, found.severity) == ("known-films", "warning")
        assert found.evidence["films"] == 10
        assert found.evidence["same_files"] == same_files
        assert found.files == clean_scan.names(range(10))


def test_strange_films_are_not_recognised(clean_scan: Scan, tmp_path: Path):
    table = clean_scan.files_table()
    known = tmp_path / "films.csv"
    # Half of the clean set against the other half: same anatomy for siblings, but never the same film.
    rows = np.arange(len(clean_scan)) % 2 == 0
    write_table(known, {name: column[rows] for name, column in table.items()})
    other = np.flatnonzero(~rows)
    columns = {
        field.name: getattr(clean_scan, field.name)[other]
        for field in dataclasses.fields(clean_scan)
        if isinstance(getattr(clean_scan, field.name), np.ndarray)
    }
    records = tuple(clean_scan.records[index] for index in other)
    assert check_known(dataclasses.replace(clean_scan, records=records, **columns), [known]) == []


def test_a_table_without_fingerprints_is_refused(clean_scan: Scan, tmp_path: Path):
    write_table(tmp_path / "plain.csv", {"path": np.array(["a"], dtype=object)})
    with pytest.raises(DataError, match="has no column 'sha256', so it is no table of fingerprints"):
        check_known(clean_scan, [tmp_path / "plain.csv"])


def test_a_hash_that_is_none_is_refused(clean_scan: Scan, tmp_path: Path):
    cells = {name: np.array(["zz"], dtype=object) for name in ("path", "sha256", "difference_hash")}
    write_table(tmp_path / "bad.csv", cells)
    with pytest.raises(DataError, match="holds something else than hashes"):
        check_known(clean_scan, [tmp_path / "bad.csv"])
    cells["difference_hash"] = np.array(["ff"], dtype=object)
    write_table(tmp_path / "short.csv", cells)
    with pytest.raises(DataError, match="8 bits cannot be compared with 256"):
        check_known(clean_scan, [tmp_path / "short.csv"])
