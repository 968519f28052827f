"""What the pages tell a reader to type works: parsed by the real parser, and run where it takes seconds."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from scripts.snippets import ROOT, Snippet, faults_of, inline_commands, note, snippets, unknown_words, written_pages

from cxray.cli import COMMANDS, cli
from cxray.data.phantom import PhantomPlan, write_phantom_folder
from cxray.errors import CxrayError
from cxray.tables import Column, read_table, write_table
from cxray.workflow.audit import audit
from cxray.workflow.predict import predict

ALL = [snippet for page in written_pages() for snippet in snippets(page)]
COMMAND_LINES = [snippet for snippet in ALL if snippet.kind == "command"]
# Judging with a validation table is the dearest line of all, so one stands for all of them.
_DEAR = "--validation"
RUN = list(
    {
        _DEAR if _DEAR in snippet.form else snippet.form: snippet
        for snippet in reversed(COMMAND_LINES)
        if not snippet.reason
    }.values()
)[::-1]
# Python that is not run here, by a word in it.
PYTHON_NEEDS = {"tritonclient": "tests/serve/test_inference_protocol.py", "RG1_J2KI": "tests/data/dicom"}


def name_of(snippet: Snippet) -> str:
    return f"{snippet.page.relative_to(ROOT).as_posix()}:{snippet.line}"


@pytest.fixture(scope="session")
def reader(tutorial_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds whatever the pages suppose a reader has."""
    folder = tmp_path_factory.mktemp("reader")
    films, run = tutorial_folder / "chest_xray", tutorial_folder / "runs" / "default"
    for name in ("chest_xray", "demo-run/films", "DATA", "films"):
        shutil.copytree(films, folder / name)
    other = write_phantom_folder(tmp_path_factory.mktemp("other") / "films", PhantomPlan(size_px=96), 36, seed=2)
    for name in ("elsewhere", "nih-dev"):
        shutil.copytree(other / "train", folder / name)
    for name in ("runs/first", "runs/default", "RUN"):
        shutil.copytree(run, folder / name)
    (folder / "film.png").write_bytes(sorted((films / "test" / "PNEUMONIA").iterdir())[0].read_bytes())
    onnx.save(scores_alone(run / "bundle" / "model.onnx"), folder / "model.onnx")
    (folder / "card.toml").write_text(foreign_card(), "utf-8")
    audit(folder / "chest_xray", folder / "audited")
    shutil.copytree(folder / "audited", folder / "audit")
    predict(run / "bundle", [folder / "chest_xray" / "test"], folder / "test.csv")
    predict(run / "bundle", [folder / "elsewhere"], folder / "elsewhere.csv")
    shutil.copyfile(run / "predictions" / "validation.csv", folder / "validation.csv")
    write_tables(folder, read_table(folder / "test.csv"))
    return folder


def scores_alone(graph: Path) -> onnx.ModelProto:
    """A graph as others publish theirs: one output, the logits."""
    model = onnx.load(graph)
    kept = [output for output in model.graph.output if output.name == "logits"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def foreign_card() -> str:
    """The card of the guide on explaining, with the numbers of the small network here."""
    block = next(snippet.text for snippet in snippets(ROOT / "docs" / "explaining.md") if snippet.kind == "toml")
    numbers = {"224": "64", '"NCHW"': '"NHWC"', "channels = 3": "channels = 1"}
    for old, new in numbers.items():
        block = block.replace(old, new)
    return re.sub(r"^(mean|deviation) = .*$", "", block, flags=re.M)


def write_tables(folder: Path, table: dict[str, Column]) -> None:
    """Predictions of several models, of other tools and of readers, on the same films."""
    ours = {name: table[name] for name in ("path", "patient", "split", "label")}
    names = ("default-test", "article-test", "theirs-test", "a0", "a1", "a2", "b0", "b1", "b2")
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).normal(0, 0.03, len(ours["path"]))
        score = np.clip(table["score_PNEUMONIA"].astype(float) + noise, 0.001, 0.999)
        write_table(folder / f"{name}.csv", {**ours, "score_NORMAL": 1 - score, "score_PNEUMONIA": score})
    is_ill = (ours["label"] == "PNEUMONIA").astype(int)
    vendor = {"image_id": ours["path"], "truth": is_ill, "probability": table["score_PNEUMONIA"]}
    write_table(folder / "vendor.csv", vendor)
    write_table(folder / "other-tool.csv", {**vendor, "image": vendor["image_id"]})
    rows = [
        (path, f"reader {k}", mode, ill)
        for path, ill in zip(ours["path"], is_ill, strict=True)
        for k in range(3)
        for mode in ("alone", "with model")
    ]
    marks = dict(zip(("path", "reader", "mode", "label"), map(list, zip(*rows, strict=True)), strict=True))
    noise = np.random.default_rng(9).normal(0, 0.5, len(rows))
    columns = {name: np.array(cells, dtype=object) for name, cells in marks.items()}
    write_table(folder / "marks.csv", {**columns, "mark": noise + columns["label"].astype(float)})


def test_the_pages_were_found() -> None:
    assert {"README.md", "index.md", "judging.md", "your-films.md"} <= {page.name for page in written_pages()}
    assert len(COMMAND_LINES) > 50 and len(RUN) > 15
    named = {snippet.words[0] for snippet in COMMAND_LINES} | {
        text.split()[1] for page in written_pages() for text in inline_commands(page)
    }
    assert sorted(set(COMMANDS) - named) == []


@pytest.mark.parametrize("snippet", COMMAND_LINES, ids=name_of)
def test_command_lines_are_understood_by_the_real_parser(snippet: Snippet) -> None:
    assert faults_of(snippet.words) == ""


def test_commands_and_options_in_running_text_exist() -> None:
    unknown = {text: unknown_words(text) for page in written_pages() for text in inline_commands(page)}
    assert {text: words for text, words in unknown.items() if words} == {}


@pytest.mark.parametrize("snippet", RUN, ids=name_of)
def test_command_lines_run(snippet: Snippet, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the pages, in one folder; earlier output under the same name is replaced."""
    monkeypatch.chdir(reader)
    words = snippet.words
    if words[:2] == ["protocol", "new"]:
        (reader / words[2]).unlink(missing_ok=True)
        (reader / f"{words[2]}.lock.json").unlink(missing_ok=True)
    if "--help" not in words and words[0] != "protocol" and faults_of([*words, "--overwrite"]) == "":
        words = [*words, "--overwrite"]
    result = CliRunner().invoke(cli, words)
    said = result.exception.message if isinstance(result.exception, CxrayError) else repr(result.exception)
    assert result.exit_code == 0, f"cxray {' '.join(words)}\n{result.output}\n{said}"


@pytest.mark.parametrize("snippet", [s for s in ALL if s.kind == "python"], ids=name_of)
def test_python_blocks_run(snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile(snippet.text, name_of(snippet), "exec")
    needs = next((where for word, where in PYTHON_NEEDS.items() if word in snippet.text), "")
    if needs or snippet.page.parent.name == "tutorial":
        assert snippet.page.parent.name == "tutorial" or (ROOT / needs).exists()
        return  # run there, with what it needs
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet.text, name_of(snippet), "exec"), {})


@pytest.mark.parametrize("snippet", [s for s in ALL if s.kind in ("toml", "json")], ids=name_of)
def test_settings_on_the_pages_are_well_formed(snippet: Snippet) -> None:
    assert tomllib.loads(snippet.text) if snippet.kind == "toml" else json.loads(snippet.text)


def test_what_is_installed_and_started_from_the_pages_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    chores = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
    for page in written_pages():
        text = page.read_text("utf-8")
        for names in re.findall(r"(?:cxray|'\.)\[([a-z,-]+)\]", text):
            assert set(names.split(",")) <= set(extras), f"{page.name} installs {names}"
        for script in re.findall(r"\bscripts/([a-z_.]+[a-z])", text):
            assert (ROOT / "scripts" / script).exists(), f"{page.name} names scripts/{script}"
        for words in re.findall(r"(?:^    |`)(?:PYTHON=\S+ )?make ([a-z -]+)", text, flags=re.M):
            assert set(words.split()) <= set(chores), f"{page.name} says make {words}"


def test_faults_are_found() -> None:
    assert faults_of(["evaluate", "t.csv", "--out", "j", "--treshold", "0.5"]).startswith("No such option")
    assert "Missing option" in faults_of(["evaluate", "t.csv"])
    assert faults_of(["judge"]) == "there is no command 'judge'"
    assert "Did you mean 'epochs'" in faults_of(["train", "d", "--out", "r", "--set", "train.epoch=1"])
    assert unknown_words("cxray evaluate --prevalance 0.1") == ["--prevalance"]
    assert unknown_words("cxray pacs status --state node") == []


def test_the_site_says_what_is_not_run() -> None:
    said = note(ROOT / "docs" / "serving.md")
    assert "`cxray serve runs/default/bundle`: runs until it is stopped" in said
