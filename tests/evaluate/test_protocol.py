"""Protocols: what may be settled, how a lock notices changes, and which records may confirm anything."""

import datetime
import json

import pytest

from cxray.errors import ConfigError, DataError, UsageError
from cxray.evaluate import protocol
from cxray.evaluate.prespecified import verdict, with_roles
from cxray.evaluate.protocol import PrimaryGoal, Protocol, load_protocol, lock_path, lock_protocol, read_locks
from cxray.evaluate.record import Record

TEXT = """
title = "Pneumonia on films of children"
positive = "PNEUMONIA"
secondary = ["sensitivity", "ppv"]
subgroups = ["site"]
prevalences = [0.1]
[primary]
metric = "auroc"
at_least = 0.9
[harm]
low = 0.1
high = 0.4
"""


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "protocol.toml"
    written.write_text(TEXT)
    return written


def test_the_template_is_a_valid_protocol_and_is_never_overwritten(tmp_path):
    path = tmp_path / "new.toml"
    protocol.new_protocol(path)
    assert load_protocol(path).primary.metric == "auroc"
    with pytest.raises(UsageError, match="exists already"):
        protocol.new_protocol(path)


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("primary.metric = 'auorc'", UsageError, "Did you mean 'auroc'"),
        ("subgroup = ['sex']", ConfigError, "Did you mean 'subgroups'"),
        ("primary = {metric = 'auroc', at_least = 0.8, at_most = 0.9}", UsageError, "both at_least and at_most"),
        ("primary = {metric = 'brier', at_least = 0.1}", UsageError, "better when smaller"),
        ("level = 95", UsageError, "between 0.5 and 1"),
        ("seed = -1", UsageError, "negative"),
        ("prevalences = [10]", UsageError, "between 0 and 1"),
        ("subgroups = 'sex'", ConfigError, "must be a list"),
        ("harm.low = 0.1", UsageError, "both low and high"),
        ("harm = {low = 0.5, high = 0.5}", UsageError, "0 < low < high < 1"),
        ("threshold.policy = 'youdon'", UsageError, "no threshold policy"),
        ("threshold = {policy = 'youden', value = 0.5}", UsageError, "both a policy and a value"),
        ("threshold.value = 1.5", UsageError, "between 0 and 1"),
        ("comparison.margin = 1", UsageError, "between 0 and 1"),
        ("title = [", ConfigError, "not valid TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, line, error, message):
    path = tmp_path / "bad.toml"
    path.write_text(line)
    with pytest.raises(error, match=message):
        load_protocol(path)


def test_the_hash_follows_the_content_and_not_the_writing(path):
    first = load_protocol(path).sha256
    path.write_text("# a comment\n" + TEXT.replace("0.9", "0.90"))
    assert load_protocol(path).sha256 == first
    path.write_text(TEXT.replace("0.9", "0.91"))
    assert load_protocol(path).sha256 != first


def test_a_change_needs_an_amendment_and_every_version_is_kept(path):
    first = lock_protocol(path)
    assert lock_protocol(path) == first or lock_protocol(path).sha256 == first.sha256
    assert len(read_locks(path)) == 1
    path.write_text(TEXT.replace('"ppv"', '"ppv", "npv"'))
    with pytest.raises(UsageError, match="changed since"):
        lock_protocol(path)
    with pytest.raises(UsageError, match="changed after it was locked"):
        protocol.locked_protocol(path)
    second = lock_protocol(path, amend=True)
    current, locks = protocol.locked_protocol(path)
    assert [lock.sha256 for lock in locks] == [first.sha256, second.sha256]
    assert current.secondary == ("sensitivity", "ppv", "npv")


def test_a_protocol_that_was_never_locked_is_refused(path):
    with pytest.raises(UsageError, match="is not locked"):
        protocol.locked_protocol(path)


@pytest.mark.parametrize("change", ["content", "removed", "broken", "list"])
def test_an_edited_lock_is_noticed(path, change):
    lock_protocol(path)
    path.write_text(TEXT.replace("0.9", "0.8"))
    lock_protocol(path, amend=True)
    content = json.loads(lock_path(path).read_text())
    if change == "content":
        content["locks"][0]["protocol"]["primary"]["at_least"] = 0.5
    if change == "removed":
        del content["locks"][0]
    if change == "list":
        content["locks"] = {}
    lock_path(path).write_text("{" if change == "broken" else json.dumps(content))
    with pytest.raises(DataError, match=r"was edited|is damaged"):
        read_locks(path)


def test_the_version_before_the_first_opening_is_in_force(path):
    lock_protocol(path)
    (lock,) = read_locks(path)
    second = datetime.timedelta(seconds=1)
    assert protocol.in_force([lock], None) == lock
    assert protocol.in_force([lock], lock.locked_at) == lock
    assert protocol.in_force([lock], lock.locked_at + second) == lock
    assert protocol.in_force([lock], lock.locked_at - second) is None


@pytest.mark.parametrize(
    ("name", "slice_name", "role"),
    [
        ("auroc", "", "primary"),
        ("sensitivity", "", "secondary"),
        ("npv", "", "exploratory"),
        ("ppv_at_prevalence_0.1", "", "secondary"),
        ("ppv_at_prevalence_0.2", "", "exploratory"),
        ("npv_at_prevalence_0.1", "", "exploratory"),
        ("sensitivity", "site=A", "secondary"),
        ("auroc_difference", "site=A", "secondary"),
        ("specificity", "site=A", "exploratory"),
        ("sensitivity", "age=1 to 5", "exploratory"),
        ("least_gain_in_harm_range", "", "secondary"),
    ],
)
def test_roles(path, name, slice_name, role):
    assert load_protocol(path).role(name, slice_name) == role


def test_without_a_protocol_in_force_everything_is_exploratory():
    (record,) = with_roles([Record("auroc", value=0.9)], None)
    assert record.role == "exploratory"
    assert Record.from_dict(record.to_dict()) == record
    (record,) = with_roles([Record("auroc", value=0.9)], Protocol())
    assert record.role == "primary"


@pytest.mark.parametrize(
    ("goal", "low", "high", "met"),
    [
        (PrimaryGoal(at_least=0.9), 0.9, 0.96, True),
        (PrimaryGoal(at_least=0.9), 0.8999, 0.96, None),
        (PrimaryGoal(at_least=0.97), 0.9, 0.96, False),
        (PrimaryGoal("brier", at_most=0.1), 0.05, 0.1, True),
        (PrimaryGoal("brier", at_most=0.1), 0.05, 0.11, None),
        (PrimaryGoal("brier", at_most=0.04), 0.05, 0.11, False),
        (PrimaryGoal(), 0.9, 0.96, None),
    ],
)
def test_the_whole_interval_must_reach_the_goal(goal, low, high, met):
    found = verdict(Record(goal.metric, value=(low + high) / 2, low=low, high=high), goal)
    assert found["met"] is met
    assert bool(found["reason"]) == (met is None)


def test_a_withheld_measure_decides_nothing():
    goal = PrimaryGoal(at_least=0.9)
    assert verdict(Record("auroc", withheld="Only one class."), goal)["reason"] == "Only one class."
    assert "no interval" in verdict(Record("auroc", value=0.95), goal)["reason"]
