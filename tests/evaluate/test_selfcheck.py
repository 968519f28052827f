"""Every published value that may be shipped is reproduced, and a wrong one would be seen."""

import dataclasses

import pytest

import cxray.evaluate
from cxray.evaluate.selfcheck import selftest

CHECKS = selftest()


@pytest.mark.parametrize("check", CHECKS, ids=[f"{check.source}: {check.name}" for check in CHECKS])
def test_reference_value_is_reproduced(check):
    assert check.agrees, f"expected {check.expected}, measured {check.measured}"


def test_a_wrong_value_is_seen():
    check = CHECKS[0]
    assert not dataclasses.replace(check, measured=check.expected + 2 * check.tolerance).agrees
    assert not dataclasses.replace(check, measured=float("nan")).agrees


def test_published_names_are_sorted_and_exist():
    assert cxray.evaluate.__all__ == sorted(cxray.evaluate.__all__)
    for name in cxray.evaluate.__all__:
        assert getattr(cxray.evaluate, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'judge_me'"):
        _ = cxray.evaluate.judge_me
