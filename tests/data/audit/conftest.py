"""A clean set of phantoms, drawn and scanned once; tests plant a fault in a copy of the folder or of the scan."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from cxray.data.audit.scan import Scan, scan_films
from cxray.data.identity import Identity, assign_patients
from cxray.data.intake import read_dataset
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.records import ImageRecord

ALONE = Identity("none", "none", "no patient column and no known file names", 0)


@pytest.fixture(scope="session")
def clean_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 phantom patients with two films each, a quarter of them in test; nothing is wrong with it."""
    folder = tmp_path_factory.mktemp("phantoms") / "clean"
    return write_phantom_folder(folder, PhantomPlan(size_px=96), 200, seed=1)


@pytest.fixture(scope="session")
def clean_scan(clean_folder: Path) -> Scan:
    """What the audit knows of the clean set."""
    return scan_films(read_dataset(clean_folder), clean_folder)


@pytest.fixture
def copy_folder(clean_folder: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Copy the clean set, thinned to every n-th film of each class, to plant a fault in."""

    def copy(every: int = 1) -> Path:
        target = tmp_path / "planted"
        for source in sorted(clean_folder.glob("*/*/*.png")):
            patient = int(source.name.split("-p")[1][:4])
            if patient % every == 0:
                path = target / source.relative_to(clean_folder)
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, path)
        return target

    return copy


def scan_of(records: Sequence[ImageRecord], seed: int = 0) -> Scan:
    """A scan of films that need not exist: every film is noise of its own, 224 × 224 pixels, 20 kB."""
    named, _ = assign_patients(records)
    n = len(named)
    rng = np.random.default_rng(seed)
    findings = list(dict.fromkeys(name for record in named for name in record.findings))
    text = {
        name: np.array([getattr(record, name) for record in named], dtype=object)
        for name in ("label", "split", "patient")
    }
    return Scan(
        root=Path("films"),
        records=tuple(named),
        classes=tuple(findings) or tuple(sorted({record.label for record in named} - {""})),
        is_multi_label=bool(findings),
        unreadable=(),
        thumbnails=rng.integers(0, 256, (n, 32, 32), dtype=np.uint8),
        hash_films=rng.integers(0, 256, (n, 16, 17), dtype=np.uint8),
        grey=rng.uniform(0.3, 0.6, (n, 9)),
        margins=np.zeros((n, 4)),
        prints=np.zeros((n, 4, 196), dtype=np.uint8),
        text_lines=np.zeros(n, dtype=np.int64),
        file_bytes=rng.integers(19_000, 21_000, n),
        height=np.full(n, 224),
        width=np.full(n, 224),
        bits=np.full(n, 8),
        model=np.full(n, "grey", dtype=object),
        kind=np.full(n, "png", dtype=object),
        has_hue=np.zeros(n, dtype=bool),
        digests=np.array([f"{index:064x}" for index in range(n)], dtype=object),
        **text,
    )


def two_classes(films: int = 200, test_share: float = 0.0, films_per_patient: int = 1) -> list[ImageRecord]:
    """Records of NORMAL and PNEUMONIA by turns of patients; the last `test_share` of each hundred patients is test."""
    records = []
    for film in range(films):
        patient = film // films_per_patient
        split = "test" if patient % 100 >= 100 * (1 - test_share) else "train"
        label = "PNEUMONIA" if patient % 2 else "NORMAL"
        path = Path("films") / split / label / f"x{film:04d}.png"
        records.append(ImageRecord(path, label=label, split=split, patient=f"p{patient:04d}"))
    return records


def relabel(scan: Scan, **columns: Sequence[str]) -> Scan:
    """The scan with other labels, splits or patients, in the columns and in the records."""
    records = tuple(
        dataclasses.replace(record, **{name: str(cells[index]) for name, cells in columns.items()})
        for index, record in enumerate(scan.records)
    )
    arrays = {name: np.array(list(cells), dtype=object) for name, cells in columns.items()}
    return dataclasses.replace(scan, records=records, **arrays)
