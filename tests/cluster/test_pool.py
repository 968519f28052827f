"""`cxray cluster predict` on one machine without Ray: the table of `cxray predict`, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cxray.cli import cli
from cxray.errors import CxrayError
from cxray.records import Predictions
from cxray.tables import read_table
from tests.cluster.conftest import DRAWN, ENDS, HANGS, TRAP, many_films, run, set_trap
from tests.conftest import draw


def test_the_table_is_that_of_predict_cell_for_cell(tiny_run: Path, phantom_films: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    shutil.copytree(phantom_films / "test", films / "test")
    (films / "empty.png").write_bytes(b"")
    Path(str(draw(films / "x.png", seed=3)).replace("x.png", "ö x.png")).write_bytes((films / "x.png").read_bytes())
    (films / "README.txt").write_text("about")
    rows = [str(path) for path in sorted(films.rglob("*.png"))]
    table = tmp_path / "films.csv"
    table.write_text("path,site,model\n" + "".join(f"{row},north,DX\n" for row in [*rows, rows[0]]) + "gone.png,,\n")
    plain = tmp_path / "plain.parquet"
    CliRunner().invoke(cli, ["predict", str(tiny_run), str(table), "--engine", "onnxruntime", "--out", str(plain)])
    done = run(tiny_run, table, "--out", tmp_path / "out", "--block", 16)
    assert isinstance(done.exception, CxrayError) and done.exception.exit_code == 8
    assert f"2 of {len(rows) + 1} films have no result" in done.exception.message
    ours, theirs = pq.read_table(tmp_path / "out" / "predictions.parquet"), pq.read_table(plain)
    assert ours.schema.names == theirs.schema.names
    assert ours.schema.field("score_NORMAL").type == theirs.schema.field("score_NORMAL").type
    for name in set(ours.schema.names) - {"error"}:
        assert ours.column(name).to_pylist() == theirs.column(name).to_pylist(), name
    letters = read_table(tmp_path / "out" / "dead_letters.csv")
    assert [Path(path).name for path in letters["path"]] == ["empty.png", "gone.png"]
    assert "is empty" in letters["error"][0] and "No such file" in letters["error"][1]
    assert "Passed over: 1 × repeated row" in done.stderr
    assert not (tmp_path / "out" / ".work").exists()
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert facts["films"] == len(rows) + 1 and facts["failed"] == 2 and facts["engine"] == "onnxruntime"


@pytest.mark.usefixtures("trapped")
def test_films_that_end_or_hang_a_decoder_do_not_stop_the_rest(tiny_run: Path, tmp_path: Path) -> None:
    films = many_films(tmp_path / "films", 40)
    set_trap(films / "film-00005.png", ENDS)
    set_trap(films / "film-00007.png", ENDS)
    set_trap(films / "film-00030.png", HANGS)
    done = run(tiny_run, films, "--out", tmp_path / "out", "--block", 16, "--film-seconds", 1)
    assert isinstance(done.exception, CxrayError) and done.exception.exit_code == 8, done.output
    table = Predictions.read(tmp_path / "out" / "predictions.parquet")
    assert len(table) == len(set(table.path)) == 40
    errors = {Path(path).name: error for path, error in zip(table.path, table.error, strict=True) if error}
    assert sorted(errors) == ["film-00005.png", "film-00007.png", "film-00030.png"]
    assert "ended the process (signal 11)" in errors["film-00005.png"]
    assert "took longer than 1 seconds" in errors["film-00030.png"]


def test_a_killed_command_goes_on_where_it_was(tiny_run: Path, tmp_path: Path) -> None:
    films, out = many_films(tmp_path / "films", 900), tmp_path / "out"
    command = [sys.executable, "-m", "cxray", "cluster", "predict", str(tiny_run), str(films), "--out", str(out)]
    command += ["--block", "48"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(list((out / ".work" / "parts").glob("*.parquet"))) < 3:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (out / "predictions.parquet").exists()
    refused = run(tiny_run, films, "--out", out, "--block", 48)
    assert isinstance(refused.exception, CxrayError) and "already holds files" in refused.exception.message
    other = run(tiny_run, films, "--out", out, "--block", 96, "--resume")
    assert isinstance(other.exception, CxrayError) and "was begun with block = 48" in other.exception.message
    done = run(tiny_run, films, "--out", out, "--block", 48, "--resume")
    assert done.exit_code == 0, done.output
    kept = int(done.stderr.partition("Resuming: ")[2].partition(" of 900")[0])
    assert 96 <= kept < 900
    table = Predictions.read(out / "predictions.parquet")
    assert table.path.tolist() == [str(path) for path in sorted(films.iterdir())]
    for content in range(DRAWN):
        assert len({tuple(row) for row in table.scores[content::DRAWN]}) == 1
    again = run(tiny_run, films, "--out", out, "--block", 48, "--resume")
    assert isinstance(again.exception, CxrayError) and "nothing to resume" in again.exception.message


@pytest.mark.usefixtures("trapped")
def test_a_full_disk_is_a_sentence_and_what_was_done_is_kept(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films, out = many_films(tmp_path / "films", 24), tmp_path / "out"
    monkeypatch.setenv("TRAP_FULL_DISK", "1")
    full = run(tiny_run, films, "--out", out, "--block", 16)
    assert isinstance(full.exception, CxrayError) and full.exception.exit_code == 5
    assert "24 of 24 films are not scored" in full.exception.message
    assert "No space left on device" in full.exception.message
    assert len(read_table(out / "unfinished.csv")["path"]) == 24
    monkeypatch.delenv("TRAP_FULL_DISK")
    done = run(tiny_run, films, "--out", out, "--block", 16, "--resume")
    assert done.exit_code == 0, done.output
    assert not (out / "unfinished.csv").exists()
    assert len(Predictions.read(out / "predictions.parquet")) == 24


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{twice}"], 3, "rows 2 and 3 give {films}/a.png two different labels"),
        (["{films}/none.csv"], 3, "There is no table at"),
        (["{films}/nowhere"], 3, "There is nothing at"),
        (["{films}", "--split", "test"], 3, "None of the films belongs to the split 'test'"),
        (["s3://user:secret@bucket/films"], 2, "The URI carries a password"),
        (["{films}", "--address", "ray://head:10001"], 2, "remote client"),
        (["{films}", "--address", "somewhere"], 2, "is no address of a cluster"),
        (["{films}", "--address", "127.0.0.1:9"], 9, "No cluster answers at 127.0.0.1:9 (Connection refused)"),
    ],
)
def test_calls_that_cannot_be_meant(
    tiny_run: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    films = tmp_path / "films"
    draw(films / "a.png")
    twice = tmp_path / "twice.csv"
    twice.write_text(f"path,label\n{films}/a.png,NORMAL\n{films}/a.png,PNEUMONIA\n")
    names = {"films": films, "twice": twice}
    result = run(tiny_run, *[argument.format(**names) for argument in arguments], "--out", tmp_path / "out")
    assert isinstance(result.exception, CxrayError), result.output
    assert result.exception.exit_code == code
    assert message.format(**names) in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_without_ray_its_addresses_name_the_extra(tiny_run: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    command = [sys.executable, "-m", "cxray", "cluster", "predict", str(tiny_run), str(tmp_path / "a.png")]
    environment = {**os.environ, "PYTHONPATH": str(TRAP), "TRAP_ABSENT": "ray"}
    for address, code, words in (("pool", 0, "1 films scored once each"), ("local", 6, "pip install '.[cluster]'")):
        result = subprocess.run(
            [*command, "--out", str(tmp_path / address), "--address", address],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == code, result.stderr
        assert words in result.stdout + result.stderr
