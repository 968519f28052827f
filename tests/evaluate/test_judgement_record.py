"""Records refuse false numbers and survive the trip through JSON."""

import json
import math

import pytest

from cxray.evaluate.record import Context, Estimate, Record, estimate, withhold


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(number):
    with pytest.raises(ValueError, match="holds finite numbers"):
        Estimate(number)


def test_limits_must_enclose_the_value():
    with pytest.raises(ValueError, match="does not enclose"):
        Estimate(0.5, 0.6, 0.7)


def test_half_an_interval_is_refused():
    with pytest.raises(ValueError, match="two limits"):
        Estimate(0.5, 0.4, None)


@pytest.mark.parametrize(("value", "reason"), [(None, ""), (0.5, "because")])
def test_either_a_value_or_a_reason(value, reason):
    with pytest.raises(ValueError, match="either a value or a reason"):
        Record("auroc", value=value, withheld=reason)


def test_rounding_is_forgiven_but_not_more():
    assert estimate(1.0, 0.5, 1.0 - 1e-12, "").high == 1.0
    with pytest.raises(ValueError, match="does not enclose"):
        estimate(1.0, 0.5, 1.0 - 1e-6, "")


def test_record_keeps_every_field_through_json():
    found = estimate(0.9, 0.8, 0.95, "DeLong").noting("a", "a", "")
    record = Context("PNEUMONIA", "site=A", 0.9, 12, 7, ("b",)).record("auroc", found)
    assert record.assumptions == ("a", "b")
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert list(record.to_dict())[:9] == [
        "name", "label", "slice", "value", "low", "high", "level", "method", "n_images",
    ]  # fmt: skip


def test_withheld_record_has_no_numbers():
    record = Context().record("auroc", withhold("Only one class."))
    assert (record.value, record.low, record.high, record.withheld) == (None, None, None, "Only one class.")
