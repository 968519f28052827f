"""How numbers are printed: honest at the edges, and traceable to their source."""

import pytest

from cxray.evaluate import Record
from cxray.report import numbers


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0%"),
        (0.0004, "<0.1%"),
        (0.001, "0.1%"),
        (0.978, "97.8%"),
        (0.9994, "99.9%"),
        (0.9996, ">99.9%"),
        (1.0, "100.0%"),
    ],
)
def test_a_percentage_never_claims_a_certainty_that_it_does_not_have(share, text):
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.000"), (0.0004, "<0.001"), (0.9806, "0.981"), (0.99951, ">0.999"), (1.0, "1.000")]
)
def test_a_fraction_keeps_three_decimals(value, text):
    assert numbers.fraction(value) == text


@pytest.mark.parametrize(("share", "text"), [(0.0, "0"), (0.004, "<1"), (0.98, "98"), (0.996, ">99"), (1.0, "100")])
def test_times_in_a_hundred(share, text):
    assert numbers.whole_of_hundred(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (785.3, "13 min 5 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds, text):
    assert numbers.duration(seconds) == text


def test_negative_numbers_have_a_true_minus_sign():
    assert numbers.signed(-0.1234) == "−0.123"
    assert numbers.fraction(-0.1234) == "−0.123"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.00"), (-1.5, "−1.50"), (6.362, "6.36"), (0.02508, "0.0251"), (123.4, "123"), (1234.5, "1,234")],
)
def test_other_numbers_keep_three_digits(value, text):
    assert numbers.plain(value) == text


def test_a_record_is_printed_with_its_source():
    record = Record("sensitivity", label='a "b" <c>', value=0.9744, low=0.95, high=0.99)
    assert numbers.shown(record) == (
        '<data value="0.9744" data-record="sensitivity" data-label="a &#34;b&#34; &lt;c&gt;" data-slice="" '
        'data-part="value">97.4%</data>'
    )
    assert "95.0%</data> to <data" in numbers.interval(record)


def test_what_is_withheld_says_so():
    withheld = Record("auroc", withheld="One class only.")
    assert "withheld" in numbers.shown(withheld)
    assert "no interval" in numbers.interval(Record("ici", value=0.1))


def test_only_parts_of_a_record_can_be_shown():
    with pytest.raises(ValueError, match="value, low, high, got 'method'"):
        numbers.shown(Record("auroc", value=0.5), "method")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ppv_at_prevalence_0.1", 0.4141, "41.4%"),
        ("calibration_intercept", -0.02, "−0.020"),
        ("likelihood_ratio_positive", 6.362, "6.36"),
        ("something_new", 0.25, "0.250"),
    ],
)
def test_each_kind_of_record_has_its_form(name, value, text):
    assert numbers.formatter(name)(value) == text


def test_unknown_records_are_spelt_out():
    assert numbers.title("something_new") == "Something new"
    assert numbers.title("ppv_at_prevalence_0.05") == "Positive predictive value (PPV) at 5% prevalence"
