"""Tables as people have them, typed as people type: a judgement or a sentence, no traceback and no false number."""

import numpy as np
import pytest

from cxray.cli import main
from cxray.tables import write_table

FILMS = 60


@pytest.fixture(autouse=True)
def _no_page(monkeypatch):
    monkeypatch.setattr("cxray.workflow.evaluate.write_evaluation_report", lambda *_, **__: None)
    monkeypatch.setattr("cxray.workflow.compare.write_comparison_report", lambda *_, **__: None)


def columns(**changes):
    rng = np.random.default_rng(0)
    ill = np.arange(FILMS) % 2 == 0
    scores = 1 / (1 + np.exp(-(rng.normal(size=FILMS) + 1.5 * ill - 0.7)))
    table = {
        "path": [f"test/{number}.png" for number in range(FILMS)],
        "patient": [f"p{number // 2}" for number in range(FILMS)],
        "split": ["test"] * FILMS,
        "label": ["ILL" if one else "OK" for one in ill],
        "score_OK": [f"{1 - score:.6f}" for score in scores],
        "score_ILL": [f"{score:.6f}" for score in scores],
    }
    return {name: np.array(cells, dtype=object) for name, cells in {**table, **changes}.items() if cells is not None}


def changed(name, place, cell):
    table = columns()
    table[name][place] = cell
    return table


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return left.value.code, said.out + said.err


CASES = {
    "one class only": (columns(label=["ILL"] * FILMS), 0, "only one is present"),
    "none ill": (columns(label=["OK"] * FILMS), 0, "sensitivity cannot be measured"),
    "equal scores": (columns(score_ILL=["0.5"] * FILMS, score_OK=["0.5"] * FILMS), 0, "0.500  ("),
    "missing score": (changed("score_ILL", 3, "NaN"), 0, "1 of 60 films have no result"),
    "infinite score": (changed("score_ILL", 3, "inf"), 3, "the first is test/3.png"),
    "score above 1": (changed("score_ILL", 3, "1.7"), 3, "the first is test/3.png"),
    "score below 0": (changed("score_ILL", 3, "-0.1"), 3, "must be probabilities"),
    "score in words": (changed("score_ILL", 3, "high"), 3, "row 5: column 'score_ILL' holds 'high'"),
    "no patients": (columns(patient=None), 0, "names no patients"),
    "unknown label": (changed("label", 3, "TB"), 0, "1 films are labelled 'TB'"),
    "labels of another language": (columns(label=["krank", "gesund"] * 30), 3, "No label of the table is a class"),
    "no label": (columns(label=[""] * FILMS), 3, "60 have no usable label"),
    "codes for labels": (columns(label=["1", "0"] * 30, score_OK=None), 3, "'ILL', but the labels are: 0, 1"),
    "no scores": (columns(score_OK=None, score_ILL=None), 3, "has no score_<CLASS> column"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_tables_as_they_come(name, tmp_path, capsys):
    table, code, words = CASES[name]
    write_table(tmp_path / "table.csv", table)
    found, said = run(capsys, "evaluate", tmp_path / "table.csv", "--out", tmp_path / "out")
    assert (found, words in said) == (code, True), said
    assert "Traceback" not in said
    assert "1.000 (1.000" not in said
    assert (tmp_path / "out" / "evaluation.json").is_file() == (code == 0)


def test_repeated_rows_count_once_and_contradicting_ones_are_refused(tmp_path, capsys):
    twice = {name: np.append(column, column[:1]) for name, column in columns().items()}
    write_table(tmp_path / "twice.csv", twice)
    code, said = run(capsys, "evaluate", tmp_path / "twice.csv", "--out", tmp_path / "a")
    assert code == 0
    assert "1 rows repeat an earlier row exactly" in said
    twice["score_ILL"][-1] = "0.123456"
    write_table(tmp_path / "twice.csv", twice)
    code, said = run(capsys, "evaluate", tmp_path / "twice.csv", "--out", tmp_path / "b")
    assert code == 3
    assert "listed twice with different contents, for example test/0.png" in said


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--column", "path=imageid"], 2, "no column 'imageid'"),
        (["--column", "path"], 2, "not of the form ours=theirs"),
        (["--label", "1"], 2, "not of the form theirs=class"),
        (["--positive", "NOPE"], 2, "There is no class 'NOPE'"),
        (["--level", "95"], 2, "between 0.5 and 1"),
        (["--prevalence", "10"], 2, "Write 10 % as 0.1"),
        (["--slice", "nothing"], 2, "no column 'nothing'"),
        (["--policy", "youdon"], 2, "no threshold policy 'youdon'"),
        (["--protocol", "none.toml"], 2, "There is no protocol at none.toml"),
        (["--features", "none.csv"], 3, "There is no table at none.csv"),
    ],
)
def test_options_that_cannot_be_meant(options, code, words, tmp_path, capsys):
    write_table(tmp_path / "table.csv", columns())
    found, said = run(capsys, "evaluate", tmp_path / "table.csv", "--out", tmp_path / "out", *options)
    assert (found, words in said) == (code, True), said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--seeds", "x=a,zz"], 2, "no table named 'zz'"),
        (["--seeds", "x"], 2, "not of the form recipe=a,b,c"),
        (["--seeds", "x=a", "--seeds", "y=a"], 2, "two recipes"),
        (["--margin", "2"], 2, "between 0 and 1"),
    ],
)
def test_comparisons_that_cannot_be_meant(options, code, words, tmp_path, capsys):
    write_table(tmp_path / "t.csv", columns())
    pair = (f"a={tmp_path / 't.csv'}", f"b={tmp_path / 't.csv'}")
    found, said = run(capsys, "compare", *pair, "--out", tmp_path / "out", *options)
    assert (found, words in said) == (code, True), said


def test_a_protocol_from_new_to_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "protocol", "new", "p.toml")[0] == 0
    assert "never" in run(capsys, "protocol", "show", "p.toml")[1]
    assert "Locked at" in run(capsys, "protocol", "lock", "p.toml")[1]
    text = (tmp_path / "p.toml").read_text()
    (tmp_path / "p.toml").write_text(text.replace("level = 0.95", "level = 0.9"))
    assert "changed      since" in run(capsys, "protocol", "show", "p.toml")[1]
    code, said = run(capsys, "protocol", "lock", "p.toml")
    assert (code, "--amend" in said) == (2, True)
    assert run(capsys, "protocol", "lock", "--amend", "p.toml")[0] == 0
    write_table(tmp_path / "table.csv", columns())
    code, said = run(capsys, "evaluate", "table.csv", "--out", "out", "--protocol", "p.toml", "--threshold", "0.5")
    assert (code, "--threshold is settled by the protocol" in said) == (2, True)
    code, said = run(capsys, "evaluate", "table.csv", "--out", "out", "--protocol", "p.toml")
    assert code == 0
    assert ", primary" in said
