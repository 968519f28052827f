"""The order of an audit: read once, then every check; the only place that knows them all.

Test films are opened here on purpose: an audit compares train with test as data. Its results describe the data and
must never tune a model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from cxray.data.audit.duplicates import check_duplicates, find_pairs, pairs_table
from cxray.data.audit.files import check_files
from cxray.data.audit.findings import Audit, Finding
from cxray.data.audit.groups import check_groups
from cxray.data.audit.identity import check_identity
from cxray.data.audit.labels import check_labels
from cxray.data.audit.leaks import check_leaks
from cxray.data.audit.provenance import check_known
from cxray.data.audit.scan import Scan, scan_films
from cxray.data.audit.shift import check_shift
from cxray.data.audit.shortcuts import (
    check_shortcuts,
    check_transport,
    look_at_whole_films,
    probes_table,
    scores_table,
    targets_of,
)
from cxray.data.intake import Intake, read_dataset
from cxray.tables import Column, is_table


def audit(data: Path, *, seed: int = 0, findings: Sequence[str] = (), known: Sequence[Path] = ()) -> Audit:
    """Look for everything that would make figures from `data` wrong or misleading.

    Args:
        data: a folder or table, as `intake.read_dataset` takes it.
        seed: of folds, shuffles and resamples; equal seeds give equal results.
        findings: multi-label columns of a table, as in `intake.read_dataset`.
        known: tables of fingerprints (`tables/films.csv` of other audits) to recognise films by.

    Raises:
        DataError: nothing there that could be audited.
        LabelError: labels that cannot be meant.
    """
    return audit_intake(read_dataset(data, findings=findings), data, seed=seed, known=known)


def audit_intake(intake: Intake, data: Path, *, seed: int = 0, known: Sequence[Path] = ()) -> Audit:
    """`audit` for data that was already read; `data` is where films are named relative to."""
    started = time.monotonic()
    scan = scan_films(intake, data.parent if is_table(data) else data)
    found, tables = check_all(scan, intake, seed=seed, known=known)
    return Audit(
        findings=tuple(found),
        counts=intake.counts(),
        facts={
            "films": len(intake.records),
            "patients": intake.identity.n_patients,
            "classes": list(intake.classes),
            "layout": intake.layout,
            "seed": seed,
            "seconds": round(time.monotonic() - started, 1),
        },
        tables=tables,
    )


def check_all(
    scan: Scan, intake: Intake, *, seed: int, known: Sequence[Path] = ()
) -> tuple[list[Finding], dict[str, dict[str, Column]]]:
    """Every check on films that were already looked at: findings, and the tables behind them by name."""
    found = check_files(scan, intake)
    tables = {"films": scan.files_table()}
    if not len(scan):
        return found, tables
    found += check_leaks(scan, intake.identity)
    found += check_identity(scan, intake.identity, seed)
    pairs = find_pairs(scan)
    found += check_duplicates(scan, pairs)
    found += check_known(scan, known)
    found += check_shift(scan, seed)
    targets = targets_of(scan)
    shortcuts, probed = check_shortcuts(scan, targets, seed)
    references = look_at_whole_films(scan, targets, seed)
    suspects, tables["suspects"] = check_labels(scan, targets, seed)
    groups, tables["groups"] = check_groups(scan, targets, seed)
    found += [*shortcuts, *check_transport(scan, references), *groups, *suspects]
    tables["pairs"] = pairs_table(scan, pairs)
    probed += [reference.probed for reference in references]
    tables["probes"] = probes_table(probed)
    tables["probe_scores"] = scores_table(scan, probed)
    return found, tables
