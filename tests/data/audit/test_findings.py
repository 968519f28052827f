import json
from pathlib import Path

import numpy as np
import pytest

from cxray.data.audit import Audit, Finding
from cxray.data.audit.findings import count_of, percent, plain
from cxray.errors import UsageError
from cxray.rundir import is_complete
from cxray.tables import read_table

LEAK = Finding("patient-leak", "error", "3 patients are in train and test.", {"n": 3}, "Move them.", ("a.png",))
NOTE = Finding("counts", "info", "10 films.", {}, "Report patients.")
CARE = Finding("tiny-film", "warning", "1 film is tiny.", {}, "Remove it.", tuple(f"{i}.png" for i in range(5)))


def made(*findings: Finding) -> Audit:
    tables = {"films": {"path": np.array(["a.png"], dtype=object)}}
    return Audit(findings, {"train": {"NORMAL": 10}}, {"films": 10, "patients": 7, "seed": 0}, tables)


def test_a_severity_outside_the_three_is_refused():
    with pytest.raises(ValueError, match="Severity must be one of error, warning, info, got 'fatal'"):
        Finding("x", "fatal", "t", {}, "a")


def test_evidence_becomes_plain_json_with_four_digits_and_no_nan():
    evidence = {"a": np.float64(0.123456), "b": np.int64(3), "c": (np.bool_(True), float("nan")), "d": np.arange(2)}
    found = Finding("x", "info", "t", evidence, "a")
    assert found.evidence == {"a": 0.1235, "b": 3, "c": [True, None], "d": [0, 1]}
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["evidence"]["c"] == [True, None]
    assert plain({1: None}) == {"1": None}


def test_at_most_a_thousand_files_are_kept():
    assert len(Finding("x", "info", "t", {}, "a", tuple("ab" * 501)).files) == 1000


def test_findings_are_sorted_worst_first_and_found_by_code():
    audit = made(NOTE, CARE, LEAK)
    assert [finding.code for finding in audit.findings] == ["patient-leak", "tiny-film", "counts"]
    assert (audit.worst, made().worst) == ("error", "")
    assert audit.of("counts") is NOTE
    assert audit.of("blank-film") is None


def test_the_text_says_the_verdict_then_each_finding_with_advice_and_some_files():
    text = made(NOTE, CARE, LEAK).text()
    assert text.startswith("10 films of 7 patients: 1 error, 1 warning, 1 info. Figures from this data would be wrong")
    assert text.index("patient-leak") < text.index("tiny-film") < text.index("counts")
    assert "→ Move them." in text
    assert "0.png, 1.png, 2.png, and 2 more" in text
    assert "→ Report patients." in text
    assert "Nothing was found" in made().text()


def test_saving_writes_the_contract_the_tables_and_the_manifest_last(tmp_path: Path):
    made(LEAK).save(tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "audit.json").read_text("utf-8"))
    assert stored["schema"] == 1
    assert stored["findings"] == [
        {
            "code": "patient-leak",
            "severity": "error",
            "title": "3 patients are in train and test.",
            "evidence": {"n": 3},
            "files": ["a.png"],
            "advice": "Move them.",
        }
    ]
    assert list(read_table(tmp_path / "out" / "tables" / "films.csv")["path"]) == ["a.png"]
    assert is_complete(tmp_path / "out")


def test_a_folder_with_other_work_is_refused_and_an_old_audit_replaced_on_request(tmp_path: Path):
    made(LEAK).save(tmp_path)
    with pytest.raises(UsageError, match="already holds files"):
        made(NOTE).save(tmp_path)
    made(NOTE).save(tmp_path, overwrite=True)
    assert json.loads((tmp_path / "audit.json").read_text("utf-8"))["findings"][0]["code"] == "counts"


@pytest.mark.parametrize(("share", "said"), [(0, "0 %"), (0.0005, "0.05 %"), (0.4, "40 %"), (1, "100 %")])
def test_percentages_keep_one_meaningful_digit(share: float, said: str):
    assert percent(share) == said


def test_counts_agree_with_their_noun():
    assert (count_of(1, "film"), count_of(0, "film"), count_of(1204, "film")) == ("1 film", "0 films", "1,204 films")
