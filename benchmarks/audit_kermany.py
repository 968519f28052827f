"""What the audit says about the Kermany films, beside an independent study of the same films.

    python benchmarks/audit_kermany.py DATA

DATA holds `train/` and `test/` × `NORMAL/`, `PNEUMONIA/` (5,840 films, 224 × 224 copies of the public set). The
study's figures come from logistic regressions on 32 × 32 thumbnails with patient-grouped cross-validation, made without
this code.
The test films are opened to audit the data; no model is chosen by what is found.
"""

from __future__ import annotations

import argparse
import csv
import resource
import time
from pathlib import Path
from typing import Any

from cxray.data.audit import audit
from machine import facts

RESULTS = Path(__file__).parent / "results" / "audit_kermany.csv"


def rows(evidence: dict[str, dict[str, Any]]) -> list[tuple[str, str, float, float]]:
    """Pitfall, what is measured, the study's figure, ours."""
    bare = next(row for row in evidence["patient-identity"]["others"] if row["reading"] == "up to the number")
    chosen = evidence["patient-identity"]["chosen"]
    shift, moved = evidence["class-shift"]["classes"], evidence["threshold-shift"]
    probes = {one["probe"]: one for one in evidence["shortcut-floor"]["probes"]}

    def both(
        pitfall: str, what: str, probe: dict[str, Any], study: tuple[float, float]
    ) -> list[tuple[str, str, float, float]]:
        return [
            (pitfall, f"{what}, cross-validated AUROC", study[0], probe["cross_validated"]["value"]),
            (pitfall, f"{what}, test AUROC", study[1], probe["test"]["value"]),
        ]

    return [
        (
            "K2",
            "held-out films with a sibling in train, 15 %",
            0.40,
            evidence["sibling-films"]["films_with_sibling_in_train"],
        ),
        ("K3", "pairs of one number and aetiology, AUROC alike", 0.639, chosen["auroc_alike"]["value"]),
        ("K3", "pairs of one number, other aetiology, AUROC alike", 0.501, bare["auroc_alike"]["value"]),
        ("K3", "pairs of one number, other aetiology", 2686, bare["pairs"]),
        ("K3", "numbers in train and test", 170, bare["patients_in_several_splits"]),
        ("K5", "patients in test", 428, evidence["counts"]["splits"]["test"]["patients"]),
        ("K7", "NORMAL, train against test, AUROC", 0.927, shift["NORMAL"]["auroc"]["value"]),
        ("K7", "PNEUMONIA, train against test, AUROC", 0.636, shift["PNEUMONIA"]["auroc"]["value"]),
        *both("K8", "whole thumbnail", moved["auroc"], (0.990, 0.916)),
        ("K8", "specificity at 95 % sensitivity, train", 0.960, moved["train_cross_validated"]["specificity"]),
        ("K8", "specificity at the same threshold, test", 0.530, moved["test"]["specificity"]),
        *both("K9", "outer 1/32 frame", probes["the outer 1/32 frame"], (0.914, 0.751)),
        *both("K9", "four corners", probes["the four corners"], (0.888, 0.808)),
        *both("K10", "file size", probes["the file size"], (0.900, 0.834)),
        ("K11", "groups of equal files", 30, evidence["duplicate-within-split"]["groups"]),
        ("K11", "films in them", 62, evidence["duplicate-within-split"]["films"]),
        ("K15", "always pneumonia, test accuracy", 0.625, evidence["counts"]["always_most_frequent_class"]["test"]),
        ("K16", "normal against bacteria, test AUROC", 0.950, moved["test_auroc_by_stratum"]["bacteria"]["value"]),
        ("K16", "normal against virus, test AUROC", 0.861, moved["test_auroc_by_stratum"]["virus"]["value"]),
    ]


def main() -> None:
    """Audit, print the comparison, store it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    started = time.perf_counter()
    result = audit(data)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds, peak_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    compared = rows({finding.code: dict(finding.evidence) for finding in result.findings})
    print(result.text())
    for pitfall, what, study, ours in compared:
        print(f"{pitfall:<4}{what:<52}{study:>9g}{ours:>9g}")
    print(f"{seconds:.1f} s ({cpu_seconds:.1f} s of processor time, imports included), {peak_mb:.0f} MB")
    RESULTS.parent.mkdir(exist_ok=True)
    known = facts()
    with RESULTS.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["pitfall", "measure", "study", "audit", "seconds", "cpu_seconds", "peak_mb", *known])
        for row in compared:
            writer.writerow([*row, f"{seconds:.1f}", f"{cpu_seconds:.1f}", f"{peak_mb:.0f}", *known.values()])


if __name__ == "__main__":
    main()
