"""A finished demo is recognised, and served without being made again."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cxray import rundir
from cxray.cli import cli
from cxray.errors import UsageError
from cxray.workflow import demo


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """What the end of a demo with seed 3 leaves, without its minute of training."""
    out = tmp_path / "demo-run"
    rundir.prepare_folder(out)
    rundir.write_manifest(out, {"kind": "demo", "seed": 3, "patients": 320})
    return out


def test_only_this_very_demo_counts(finished: Path, tmp_path: Path) -> None:
    assert demo.is_finished(finished, seed=3)
    assert not demo.is_finished(finished, seed=4)
    assert not demo.is_finished(finished, seed=3, patients=319)
    assert not demo.is_finished(tmp_path / "none", seed=3)
    rundir.write_manifest(finished, {"kind": "run", "seed": 3, "patients": 320})
    assert not demo.is_finished(finished, seed=3)


def test_serving_begins_at_once_where_the_demo_is_finished(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[Path, int]] = []
    monkeypatch.setattr("cxray.cli.demo._serve", lambda out, port: served.append((out, port)))
    monkeypatch.setattr("cxray.serve.run.require_serving_libraries", lambda: None)
    monkeypatch.setattr(demo, "require_training_libraries", lambda: None)
    words = ["demo", "--serve", "--out", str(finished), "--port", "9000", "--seed"]
    result = CliRunner().invoke(cli, [*words, "3"])
    assert result.exit_code == 0
    assert "holds this demo already" in result.output
    assert served == [(finished, 9000)]
    other = CliRunner().invoke(cli, [*words, "4"])
    assert isinstance(other.exception, UsageError)
    assert "already holds files" in str(other.exception)
    assert len(served) == 1


@pytest.mark.train
def test_the_first_command_of_the_readme_walks_the_whole_road(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra train")
    made = demo.demo(tmp_path / "demo-run")
    assert demo.is_finished(made.folder)
    assert (made.judgement.record("auroc").value or 0) > 0.9
    assert "Not for clinical use" in made.report.read_text("utf-8")
    assert (made.folder / "audit" / "audit.html").is_file()
