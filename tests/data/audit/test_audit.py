"""The whole audit: a clean set is clean, every layout is accepted, and the real films tell what is known of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxray.data.audit import Audit, audit
from cxray.errors import DataError
from cxray.tables import read_table, write_table
from tests.conftest import draw


def alarms(result: Audit) -> list[str]:
    return [finding.code for finding in result.findings if finding.severity != "info"]


def test_a_clean_set_raises_no_warning_and_says_so(clean_folder: Path):
    result = audit(clean_folder)
    assert alarms(result) == []
    assert "Nothing was found" in result.text()
    assert result.facts["films"] == 400
    assert result.of("patient-identity").evidence["chosen"]["verdict"] == "supported"  # type: ignore[union-attr]


def test_equal_seeds_give_equal_findings_and_the_folder_is_complete(copy_folder: Callable[[int], Path], tmp_path: Path):
    folder = copy_folder(3)
    first, second = audit(folder, seed=4), audit(folder, seed=4)
    assert [one.as_json() for one in first.findings] == [one.as_json() for one in second.findings]
    first.save(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "tables").iterdir()) == [
        "films.csv",
        "groups.csv",
        "pairs.csv",
        "probe_scores.csv",
        "probes.csv",
        "suspects.csv",
    ]
    stored = json.loads((tmp_path / "out" / "audit.json").read_text("utf-8"))
    assert stored["counts"] == {split: dict(row) for split, row in first.counts.items()}
    assert len(read_table(tmp_path / "out" / "tables" / "films.csv")["sha256"]) == first.facts["films"]


def test_plain_class_folders_are_audited_without_split_findings(copy_folder: Callable[[int], Path], tmp_path: Path):
    folder = copy_folder(3)
    for split in ("train", "test"):
        for film in sorted((folder / split).glob("*/*.png")):
            target = tmp_path / "plain" / film.parent.name / film.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(film, target)
    result = audit(tmp_path / "plain")
    assert alarms(result) == []
    assert {"patient-leak", "class-shift", "contiguous-split"}.isdisjoint(f.code for f in result.findings)
    assert result.of("shortcut-floor").evidence["best"]["test"] is None  # type: ignore[union-attr]


def test_a_table_with_findings_is_audited_and_its_leak_is_found(clean_folder: Path, tmp_path: Path):
    films = sorted(clean_folder.glob("*/*/*.png"))[::2]
    rng = np.random.default_rng(0)
    columns = {
        "path": np.array([str(film) for film in films], dtype=object),
        "patient": np.array([film.name[:14] for film in films], dtype=object),
        "split": np.array([film.parts[-3] for film in films], dtype=object),
        "consolidation": np.array([str(int(film.parts[-2] == "PNEUMONIA")) for film in films], dtype=object),
        "nodule": rng.choice(["0", "1", ""], len(films)).astype(object),
    }
    write_table(tmp_path / "clean.csv", columns)
    result = audit(tmp_path / "clean.csv")
    assert alarms(result) == []
    assert {probe["target"] for probe in result.of("shortcut-floor").evidence["probes"]} == {  # type: ignore[union-attr]
        "consolidation",
        "nodule",
    }
    columns["patient"][0] = columns["patient"][-1]
    write_table(tmp_path / "leak.csv", columns)
    assert "patient-leak" in alarms(audit(tmp_path / "leak.csv"))


def test_a_set_of_a_few_films_is_audited_without_probes(tmp_path: Path):
    for index in range(4):
        draw(tmp_path / ("A" if index % 2 else "B") / f"{index}.png", side=64, seed=index)
    result = audit(tmp_path)
    assert result.of("shortcut-floor") is None
    assert result.of("counts") is not None


def test_a_set_in_which_nothing_can_be_read_is_an_error_and_no_crash(tmp_path: Path):
    for label in ("A", "B"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "film.png").write_bytes(b"no film")
    result = audit(tmp_path)
    assert alarms(result) == ["unreadable-film"]
    result.save(tmp_path / "out")


def test_nothing_to_audit_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="holds no films in class folders"):
        audit(tmp_path)


@pytest.mark.shared
def test_the_pitfalls_of_the_kermany_films_are_found_by_general_means(shared: Path):
    """Figures of an independent study of the same 5,840 films, each with the room that another probe may need."""
    result = audit(shared / "data" / "kermany224")
    evidence = {finding.code: finding.evidence for finding in result.findings}
    assert {"patient-leak", "duplicate-across-splits"}.isdisjoint(evidence)  # K3: nobody crosses in the right reading
    bare = next(row for row in evidence["patient-identity"]["others"] if row["reading"] == "up to the number")
    assert (bare["verdict"], bare["pairs"], bare["patients_in_several_splits"]) == ("rejected", 2686, 170)
    assert bare["auroc_alike"]["value"] == pytest.approx(0.501, abs=0.03)
    assert evidence["counts"]["splits"]["test"]["patients"] == 428  # K5
    assert evidence["sibling-films"]["films_with_sibling_in_train"] == pytest.approx(0.40, abs=0.01)  # K2
    bacteria = next(row for row in evidence["contiguous-split"]["families"] if row["names"] == "person#_bacteria")
    assert bacteria["held_out_numbers"] == [78, 175]  # K6
    shift = evidence["class-shift"]["classes"]
    assert shift["NORMAL"]["auroc"]["value"] == pytest.approx(0.927, abs=0.02)  # K7
    assert shift["PNEUMONIA"]["auroc"]["value"] == pytest.approx(0.636, abs=0.02)
    transport = evidence["threshold-shift"]
    assert transport["auroc"]["cross_validated"]["value"] == pytest.approx(0.990, abs=0.005)  # K8
    assert transport["auroc"]["test"]["value"] == pytest.approx(0.916, abs=0.02)
    assert transport["train_cross_validated"]["specificity"] == pytest.approx(0.960, abs=0.02)
    assert transport["test"]["specificity"] == pytest.approx(0.530, abs=0.1)
    border, size = evidence["shortcut-border"]["worst"], evidence["shortcut-file-bytes"]["worst"]
    assert border["cross_validated"]["value"] == pytest.approx(0.914, abs=0.01)  # K9
    assert border["test"]["value"] == pytest.approx(0.751, abs=0.02)
    assert size["cross_validated"]["value"] == pytest.approx(0.900, abs=0.005)  # K10
    assert size["test"]["value"] == pytest.approx(0.834, abs=0.01)
    assert evidence["duplicate-within-split"]["groups"] == 30  # K11
    assert evidence["duplicate-within-split"]["films"] == 62
    assert evidence["prevalence-difference"]["classes"]["PNEUMONIA"]["test"] == pytest.approx(0.625)  # K15
    by_stratum = transport["test_auroc_by_stratum"]  # K16
    assert by_stratum["bacteria"]["value"] - by_stratum["virus"]["value"] > 0.05
