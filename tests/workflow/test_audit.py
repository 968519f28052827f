"""`cxray audit` as a whole: films in, findings and a page out, and nothing that was to be read is ever deleted."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cxray.cli import cli
from cxray.errors import DataError, UsageError
from cxray.tables import read_table, write_table
from cxray.workflow.audit import audit_folder
from cxray.workflow.thumbnails import PICTURE_SIDE, small_png
from tests.conftest import draw, draw_dataset
from tests.report.reading import Page


@pytest.fixture
def films(tmp_path):
    """A small set with one film copied from train to test, one unreadable film, and a wide one."""
    root = draw_dataset(tmp_path / "films")
    source = next((root / "train" / "NORMAL").glob("*.png"))
    shutil.copy(source, root / "test" / "NORMAL" / "copied-7-0.png")
    (root / "train" / "NORMAL" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"cut")
    wide = np.random.default_rng(5).integers(0, 256, (40, 160)).astype(np.uint8)
    Image.fromarray(wide).save(root / "train" / "PNEUMONIA" / "wide-9-0.png")
    return root


def test_the_folder_is_complete_and_the_page_is_in_its_manifest(films, tmp_path):
    result = audit_folder(films, tmp_path / "out")
    files = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["files"]
    assert {"audit.html", "audit.json", "tables/films.csv", "tables/pairs.csv"} <= set(files)
    assert files["audit.html"]["bytes"] == (tmp_path / "out" / "audit.html").stat().st_size
    page = Page(tmp_path / "out" / "audit.html")
    page.close()
    assert result.of("duplicate-across-splits") is not None
    shown = [element.attributes["alt"] for element in page.all("img") if "article" in element.parents]
    assert "test/NORMAL/copied-7-0.png" in shown
    assert "train/NORMAL/broken.png" not in [element.attributes["alt"] for element in page.all("img")]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows file names of any bytes")
def test_hostile_file_names_reach_neither_terminal_nor_page(films, tmp_path):
    source = next((films / "train" / "NORMAL").glob("patient-*.png"))
    folder = os.fsencode(films / "test" / "NORMAL") + b"/"
    for name in (b"\xff-7.png", b"\x1b[31mred-8.png", "\u202e<script>alert(1)<b>-9.png".encode()):
        shutil.copy(os.fsencode(source), folder + name)
    shown = CliRunner().invoke(cli, ["audit", str(films), "--out", str(tmp_path / "out")])
    assert shown.exit_code == 0, shown.output
    assert "\x1b" not in shown.output and "\u202e" not in shown.output
    assert "\\x1b[31mred-8.png" in shown.output
    command = [sys.executable, "-m", "cxray", "audit", films, "--out", tmp_path / "json", "--json"]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    found = subprocess.run(command, capture_output=True, env=strict, timeout=60, check=True)
    files = [file for finding in json.loads(found.stdout)["findings"] for file in finding["files"]]
    assert os.fsdecode(b"test/NORMAL/\xff-7.png") in files
    page = Page(tmp_path / "out" / "audit.html")
    page.close()
    assert len(page.all("script")) == 1 and "\x1b" not in page.source and "\u202e" not in page.source
    assert any(element.attributes["alt"].endswith("<script>alert(1)<b>-9.png") for element in page.all("img"))


def test_pictures_keep_the_shape_of_the_film(films):
    from io import BytesIO

    picture = Image.open(BytesIO(small_png(films / "train" / "PNEUMONIA" / "wide-9-0.png")))
    assert picture.size == (PICTURE_SIDE, PICTURE_SIDE // 4)
    assert small_png(films / "train" / "NORMAL" / "broken.png") == b""


def test_a_page_full_of_noise_stays_small(tmp_path):
    root = tmp_path / "films"
    for number in range(24):
        for label in ("A", "B"):
            draw(root / f"{label}{number}" / f"x-{number}.png", side=300, seed=number)
            draw(root / f"{label}{number}" / f"y-{number}.png", side=300, seed=100 + number)
            draw(root / f"{label}{number}" / f"z-{number}.png", side=300, seed=200 + number)
    audit_folder(root, tmp_path / "out")
    assert 2_000_000 < (tmp_path / "out" / "audit.html").stat().st_size < 4_300_000


def test_findings_of_a_table_are_classes_of_the_page(tmp_path):
    paths = [draw(tmp_path / "films" / f"{number}.png", seed=number).name for number in range(6)]
    columns = {
        "path": np.array([f"films/{name}" for name in paths], dtype=object),
        "effusion": np.array([1, 0, 1, 0, 0, 0]),
        "nodule": np.array([0, 1, 0, 0, 0, 0]),
        "age": np.array([1, 0, 1, 0, 1, 0]),
    }
    write_table(tmp_path / "films.csv", columns)
    audit_folder(tmp_path / "films.csv", tmp_path / "out", findings=("effusion", "nodule"))
    text = Page(tmp_path / "out" / "audit.html").text
    assert "effusion 2 films" in text and "no finding 3 films" in text


def test_a_wrong_out_is_refused_before_the_films_are_read(films, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    for overwrite, words in ((False, "already holds files"), (True, "was not made by cxray")):
        with pytest.raises(UsageError, match=words):
            audit_folder(tmp_path / "no such films", tmp_path / "other", overwrite=overwrite)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_overwrite_never_deletes_what_is_to_be_read(films, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    for out in (films, tmp_path):
        with pytest.raises(UsageError, match=r"lies in .*, where the results would go"):
            audit_folder(films, out, overwrite=True)
    audit_folder(films, tmp_path / "out")
    known = tmp_path / "out" / "tables" / "films.csv"
    with pytest.raises(UsageError, match=r"films\.csv lies in"):
        audit_folder(films, tmp_path / "out", known=[known], overwrite=True)
    assert known.is_file() and len(list(films.rglob("*.png"))) == 27
    audit_folder(films, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "audit.html").is_file()


def test_the_command_recognises_films_of_another_audit(films, tmp_path):
    run = CliRunner()
    first = run.invoke(cli, ["audit", str(films), "--out", str(tmp_path / "one")])
    assert first.exit_code == 0, first.output
    assert f"Page:     {tmp_path / 'one' / 'audit.html'}" in first.output
    known = tmp_path / "one" / "tables" / "films.csv"
    again = run.invoke(cli, ["audit", str(films), "--out", str(tmp_path / "two"), "--known", str(known), "--json"])
    assert again.exit_code == 0, again.output
    codes = [finding["code"] for finding in json.loads(again.stdout)["findings"]]
    assert "known-films" in codes
    assert len(read_table(known)["path"]) == 26


def test_a_table_without_fingerprints_leaves_no_results(films, tmp_path):
    write_table(tmp_path / "wrong.csv", {"path": np.array(["a"], dtype=object)})
    with pytest.raises(DataError, match="no table of fingerprints"):
        audit_folder(films, tmp_path / "out", known=[tmp_path / "wrong.csv"])
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_public_name_answers_and_writes_the_page_when_told_where(films, tmp_path):
    import cxray

    told = cxray.audit(str(films))
    assert told.of("duplicate-across-splits") is not None
    written = cxray.audit(films, tmp_path / "out", known=[])
    assert [finding.as_json() for finding in written.findings] == [finding.as_json() for finding in told.findings]
    assert (tmp_path / "out" / "audit.html").is_file() and (tmp_path / "out" / "manifest.json").is_file()
    with pytest.raises(UsageError, match="already holds files"):
        cxray.audit(films, str(tmp_path / "out"))
    cxray.audit(films, tmp_path / "out", overwrite=True)
