"""Sweeps: spaces and proposals, trials that die and go on, patients held out from everything, and what is chosen."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cxray.cli import cli
from cxray.cluster.session import Cluster, Node
from cxray.cluster.sweep import FINAL, Plan, Space, Trial
from cxray.cluster.sweep_pool import SweepPool
from cxray.cluster.sweep_ray import check_room
from cxray.cluster.sweep_search import Proposals
from cxray.errors import ClusterError, ConfigError, PartialResult, UsageError
from cxray.records import Predictions
from cxray.tables import read_table
from cxray.workflow import cluster_sweep
from cxray.workflow.cluster_sweep import Means, Question, sweep
from cxray.workflow.cluster_trial import run_trial

TINY = ("input.height=32", "input.width=32", "train.epochs=1", "decision.stress=false", "decision.policy=none",
        "split.validation_fraction=0.3")  # fmt: skip
# Learns in two lives: writes a checkpoint and dies in the first, finishes from it in the second.
WORKER = """
import json, os, signal, sys
from pathlib import Path
folder = Path(sys.argv[1])
trial = json.loads((folder / "trial.json").read_text())
starts = folder / "starts"
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
if trial["seed"] == 1 and trial["fold"] == 2 and starts.read_text() == "x":
    os.kill(os.getpid(), signal.SIGKILL)
if trial["recipe"] == "refuses":
    sys.exit(2)
(folder / "result.json").write_text(json.dumps(trial["seed"] / 10))
"""


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("train.learning_rate=1e-5..1e-2:log", Space("train.learning_rate", (), 1e-5, 1e-2, True, False)),
        ("model.dropout=0.0..0.5", Space("model.dropout", (), 0.0, 0.5)),
        ("train.epochs=2..6", Space("train.epochs", (), 2, 6, False, True)),
        ("train.batch_size=16,32", Space("train.batch_size", (16, 32))),
        ("augment.flip=true,false", Space("augment.flip", (True, False))),
        ("train.schedule=cosine,constant", Space("train.schedule", ("cosine", "constant"))),
    ],
)
def test_spaces_are_read_as_they_are_written(text: str, space: Space) -> None:
    assert Space.parse(text) == space


@pytest.mark.parametrize(
    "text", ["dropout=0..1", "a.b", "a.b=", "a.b=3..2", "a.b=0..1:log", "a.b=1..2:lin", "a.b=x..y"]
)
def test_what_is_no_space_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--search"):
        Space.parse(text)


def plan(**changes: Any) -> Plan:
    return Plan(**{"recipes": {"one": "1"}, "seeds": (0, 1, 2), "folds": 2, **changes})


def all_of(proposals: Proposals) -> list[Trial]:
    return list(iter(proposals.next, None))


def test_every_recipe_fold_and_seed_comes_once_with_a_name_of_its_own() -> None:
    trials = all_of(Proposals(plan(recipes={"one": "1", "two": "2"}, final=True)))
    assert len(trials) == len({trial.key for trial in trials}) == 2 * 3 * 3
    assert [trial.fold for trial in trials] == [1] * 6 + [2] * 6 + [FINAL] * 6
    assert all_of(Proposals(plan(recipes={"one": "1", "two": "2"}, final=True))) == trials
    # Other settings of a recipe are other trials.
    assert not {t.key for t in trials} & {t.key for t in all_of(Proposals(plan(recipes={"one": "x", "two": "y"})))}


def test_a_search_learns_inside_its_own_fold_and_goes_on_where_it_was() -> None:
    pytest.importorskip("optuna", reason="needs the extra cluster")
    asked = plan(seeds=(0,), spaces=(Space("train.learning_rate", (), 1e-5, 1e-2, True),), samples=30)

    def value(trial: Trial) -> float:
        # In fold 1 large rates are good, in fold 2 small ones.
        rate = float(trial.overrides[0].partition("=")[2])
        return rate if trial.fold == 1 else -rate

    proposals, seen = Proposals(asked), {}
    while (trial := proposals.next()) is not None:
        proposals.done(trial, value(trial))
        seen[trial] = value(trial)
    late = {fold: [abs(v) for t, v in seen.items() if t.fold == fold and t.candidate >= 20] for fold in (1, 2)}
    assert np.mean(late[1]) > 3 * np.mean(late[2])
    half = {trial: value for trial, value in seen.items() if trial.candidate < 6}
    again = all_of(Proposals(asked, half))
    assert [t for t in again if t.candidate < 6] == list(half)
    assert len(again) == 60


def test_a_candidate_counts_once_all_its_seeds_are_through_and_each_of_them_once() -> None:
    pytest.importorskip("optuna", reason="needs the extra cluster")
    asked = plan(seeds=(0, 1), folds=1, spaces=(Space("model.dropout", (), 0.0, 0.5),), samples=2)
    first = all_of(Proposals(asked))[0]
    proposals = Proposals(asked, {first: 0.5})
    told = proposals._searches["one", 1].study.trials
    trials = all_of(proposals)
    proposals.done(trials[0], 0.5)  # found finished, and told again
    assert [trial.state.name for trial in told] == []
    proposals.done(trials[1], 0.7)
    finished = [trial.value for trial in proposals._searches["one", 1].study.trials if trial.value is not None]
    assert finished == [pytest.approx(0.6)]


def test_plans_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(UsageError, match="--search and --samples belong together"):
        plan(samples=3)
    with pytest.raises(ConfigError, match="'luck' is no measure"):
        plan(measure="luck")
    assert (
        Plan.from_dict(json.loads(json.dumps(plan(spaces=(Space("a.b", (1, 2)),), samples=2).to_dict()))).samples == 2
    )
    assert plan(final=True).same_but_final(plan()) and not plan(folds=3).same_but_final(plan())


def run_pool(out: Path, recipes: Sequence[str] = ("one",), parallel: int = 3) -> tuple[SweepPool, dict[str, str]]:
    (out / "worker.py").write_text(WORKER)

    def begin(trial: Trial) -> None:
        (out / trial.key).mkdir(exist_ok=True)
        (out / trial.key / "trial.json").write_text(json.dumps(trial.to_dict()))

    def value_of(trial: Trial) -> float | None:
        path = out / trial.key / "result.json"
        return float(path.read_text()) if path.is_file() else None

    pool = SweepPool([sys.executable, str(out / "worker.py")], lambda trial: out / trial.key, value_of, restarts=1)
    return pool, pool.run(Proposals(plan(recipes={name: name for name in recipes})), parallel, begin)


def test_six_trials_with_one_killed_give_six_results_and_a_second_call_starts_none(tmp_path: Path) -> None:
    assert run_pool(tmp_path)[1] == {}
    starts = {path.parent.name: path.read_text() for path in tmp_path.glob("*/starts")}
    assert len(starts) == len(list(tmp_path.glob("*/result.json"))) == 6
    assert sorted(starts.values()) == ["x"] * 5 + ["xx"]
    assert run_pool(tmp_path)[1] == {}
    assert {path.parent.name: path.read_text() for path in tmp_path.glob("*/starts")} == starts


def test_a_trial_that_refuses_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    failures = run_pool(tmp_path, ("refuses", "one"))[1]
    assert len(failures) == 6 and all(key.startswith("refuses-") for key in failures)
    assert next(iter(failures.values())) == "ended with code 2 after 1 starts: it wrote nothing"
    assert len(list(tmp_path.glob("one-*/result.json"))) == 6


def test_a_cluster_without_a_node_for_one_trial_is_refused() -> None:
    cluster = Cluster("auto", (Node("a", "10.0.0.1", 2, 1), Node("b", "10.0.0.2", 4)), "2.60.0")
    check_room(cluster, {"CPU": 4, "GPU": 0})
    with pytest.raises(ClusterError, match="No node can hold one trial with 4 processors and 1 GPUs"):
        check_room(cluster, {"CPU": 4, "GPU": 1})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--search", "train.learning_rat=1e-4..1e-3:log", "--samples", "3"], "Did you mean 'learning_rate'"),
        (["--search", "model.dropout=0.0..1.5", "--samples", "3"], "model.dropout must be 0 up to but not including 1"),
        (["--recipe", "demo", "--recipe", "demo"], "Two recipes are called 'demo'"),
        (["--resume"], "There is no sweep to resume"),
        (["--address", "127.0.0.1"], "'127.0.0.1' is no address of a cluster"),
    ],
)
def test_questions_that_cannot_be_meant_are_refused_before_a_film_is_read(
    options: list[str], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra train")
    arguments = ["cluster", "sweep", str(tmp_path / "no-films"), "--out", str(tmp_path / "out"), *options]
    assert words in str(CliRunner().invoke(cli, arguments).exception)
    assert not (tmp_path / "out").exists()


def test_a_sweep_holds_patients_out_of_everything_and_leaves_tables_that_compare_reads(
    phantom_films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One trial, a fifth held out, trained here; its result was lost before, and only the scoring is done again."""
    pytest.importorskip("tensorflow", reason="needs the extra train")
    out, ran = tmp_path / "swept", []

    def in_this_process(folder: Path, proposals: Proposals, _address: str, _means: Means) -> dict[str, str]:
        while (trial := proposals.next()) is not None:
            place = folder / "trials" / trial.key
            if not (place / "result.json").is_file():
                ran.append(trial.key)
                place.mkdir(parents=True, exist_ok=True)
                (place / "trial.json").write_text(json.dumps(trial.to_dict()))
                run_trial(place)
                if len(ran) == 1:
                    raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(cluster_sweep, "_run_all", in_this_process)
    question = Question(recipes=("demo",), seeds=1, folds=1)
    with pytest.raises(KeyboardInterrupt):
        sweep(phantom_films, out, question, overrides=TINY)
    (out / "trials" / ran[0] / "result.json").unlink()
    result_lost_at = time.time()
    done = sweep(phantom_films, out, question, overrides=TINY, resume=True)
    assert len(ran) == 2 and ran[0] == ran[1]
    assert (out / "trials" / ran[0] / "run" / "manifest.json").stat().st_mtime < result_lost_at
    done.check()
    films = read_table(out / "films.csv")
    assert not any("/test/" in path for path in films["path"])
    fold_of = dict(zip(films["path"], films["fold"], strict=True))
    for folder in (out / "trials").iterdir():
        trial = json.loads((folder / "trial.json").read_text())
        splits, heldout = read_table(folder / "run" / "splits.csv"), read_table(folder / "heldout.csv")
        assert {fold_of[path] for path in heldout["path"]} == {f"fold {trial['fold']}"}
        assert set(splits["split"]) == {"train", "validation"}
        assert not set(splits["patient"]) & set(heldout["patient"])
        assert len(splits["path"]) + len(heldout["path"]) == len(fold_of)
    table = Predictions.read(out / "predictions" / "demo-seed0.csv")
    assert sorted(table.path) == sorted(path for path, fold in fold_of.items() if fold == "fold 1")
    assert set(table.split) == {"validation"} and 0.1 < len(table) / len(fold_of) < 0.3
    assert (out / "judged" / "report.html").is_file() and (out / "best.toml").is_file()
    assert done.facts["finished"] == done.facts["trials"] == 1
    rows = read_table(out / "trials.csv")
    assert list(rows["fold"]) == ["1"] and list(rows["chosen"]) == ["yes"]
    with pytest.raises(UsageError, match="asked something else"):
        sweep(phantom_films, out, Question(recipes=("demo",), seeds=2, folds=1), overrides=TINY, resume=True)


def test_trials_without_a_result_are_said_and_cost_the_exit_code() -> None:
    facts = {"failures": {"one-fold1": "ended with code 1 after 3 starts: why"}, "trials": 6}
    with pytest.raises(PartialResult, match="1 of 6 trials have no result; one-fold1 ended with code 1") as caught:
        from cxray.workflow.sweep_results import Sweep

        Sweep(Path("out"), facts).check()
    assert "--resume" in caught.value.next_step
