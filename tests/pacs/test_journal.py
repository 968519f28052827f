"""The journal cannot hold what identifies a patient, whatever it is given."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

from cxray.pacs.journal import Journal, silence_libraries
from cxray.pacs.metrics import metrics_text
from cxray.pacs.queue import Queue


def test_an_event_is_one_line_on_stderr_and_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Journal(tmp_path / "log").note("assessed", film="0123456789abcdef" * 2, outcome="clear", seconds=0.25, new=True)
    line = (tmp_path / "log").read_text()
    assert line.endswith("Z assessed film=0123456789ab outcome=clear seconds=0.25 new=1\n")
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    "value", ["Mueller^Anna", "MUELLER", "1.2.840.113619", "19370423", "anna mueller", "x" * 49, "a\nb", "müller", ""]
)
def test_anything_but_a_plain_word_is_withheld(tmp_path: Path, value: str) -> None:
    Journal(tmp_path / "log", quiet=True).note("assessed", film=value, reason=value)
    assert (tmp_path / "log").read_text().endswith(f"assessed {'film=withheld ' if value else ''}reason=withheld\n")


def test_a_fault_names_type_and_place_and_never_the_text(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", quiet=True)
    try:
        Queue(tmp_path).claim("waiting")
    except Exception as error:
        journal.fault(error)
    assert "fault type=operational-error place=queue-" in (tmp_path / "log").read_text()
    assert "unable" not in (tmp_path / "log").read_text()


def test_the_libraries_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        silence_libraries()
        from pydicom import Dataset

        film = Dataset()
        film.PatientBirthDate = "Zwetschgenmann"
        logging.getLogger("pynetdicom.assoc").error("Zwetschgenmann")
        logging.getLogger("pydicom").warning("Zwetschgenmann")
        warnings.warn("Zwetschgenmann", stacklevel=1)
    assert capsys.readouterr() == ("", "")


def test_metrics_are_prometheus_text_from_the_queue(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite3")
    queue.add("0" * 32)
    queue.count({("assessed", "clear"): 3.0, ("refused", "lateral-view"): 2.0, ("scores", "ILL|0.2"): 5.0})
    text = metrics_text(queue)
    assert 'cxray_pacs_assessed_total{outcome="clear"} 3.0' in text
    assert 'cxray_pacs_refused_total{reason="lateral-view"} 2.0' in text
    assert 'cxray_pacs_scores_total{finding="ILL",upto="0.2"} 5.0' in text
    assert 'cxray_pacs_jobs{state="waiting"} 1.0' in text
    assert "0000000000" not in text
