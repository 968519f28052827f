"""How a number is printed, in one place, so that both levels of a page and every table agree.

Every printed number is a `<data>` element that carries the full value and the record, fact or table cell it came from;
whoever doubts a page can check it against `evaluation.json` by machine. Rounding never reaches a certainty that the
value does not have: 0.9998 is printed as >99.9%, never as 100.0%.
"""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from cxray.evaluate.record import Record
from cxray.report.text import printable

_PARTS = ("value", "low", "high")
_PERCENT = frozenset(
    {
        "prevalence",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "accuracy",
        "balanced_accuracy",
        "sensitivity_worst_case",
        "specificity_worst_case",
        "sensitivity_proven",
        "specificity_proven",
        "conformal_coverage",
        "conformal_answered",
        "prevalence_by_em",
        "prevalence_by_calls",
    }
)
_ANY_SIZE = frozenset({"likelihood_ratio_positive", "likelihood_ratio_negative", "log_loss", "observed_expected_ratio"})
_SIGNED = ("intercept", "slope", "net_benefit", "scaled_brier", "mcc", "difference", "gain")

TITLES = {
    "prevalence": "Prevalence in this table",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "partial_auroc": "Partial AUROC (specificity 0.9 to 1)",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value (PPV)",
    "npv": "Negative predictive value (NPV)",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "likelihood_ratio_positive": "Positive likelihood ratio",
    "likelihood_ratio_negative": "Negative likelihood ratio",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
    "scaled_brier": "Scaled Brier score",
    "log_loss": "Log loss",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept (slope fixed at 1)",
    "recalibration_intercept": "Recalibration intercept (fitted with the slope)",
    "observed_expected_ratio": "Observed / expected",
    "ici": "Integrated calibration index",
    "e50": "E50: median calibration error",
    "e90": "E90: 90th percentile of calibration error",
    "brier_miscalibration": "Brier score: miscalibration",
    "brier_discrimination": "Brier score: discrimination",
    "brier_uncertainty": "Brier score: uncertainty",
    "expected_calibration_error": "Expected calibration error",
    "net_benefit": "Net benefit",
    "sensitivity_worst_case": "Sensitivity if every film without a result were wrong",
    "specificity_worst_case": "Specificity if every film without a result were wrong",
    "sensitivity_proven": "Sensitivity, proven lower bound",
    "specificity_proven": "Specificity, proven lower bound",
    "area_under_risk_coverage": "Area under the risk-coverage curve",
    "score_shift_positive": "Score shift since validation, with the finding",
    "score_shift_negative": "Score shift since validation, without it",
    "prevalence_by_em": "Prevalence estimated from the scores (EM)",
    "prevalence_by_calls": "Prevalence estimated from the decisions",
    "conformal_coverage": "Conformal coverage",
    "conformal_answered": "Answered with one class",
    "auroc_difference": "AUROC, difference to the rest",
    "sensitivity_difference": "Sensitivity, difference to the rest",
    "specificity_difference": "Specificity, difference to the rest",
    "shortcut_floor": "Shortcut floor: AUROC of the strongest shortcut",
    "gain_over_floor": "Gain over the shortcut floor, in AUROC",
    "macro_auroc": "AUROC, mean over classes",
    "fleiss_kappa": "Fleiss’ kappa, all readers",
    "cohen_kappa": "Cohen’s kappa, two readers",
    "hand_till_auroc": "Hand and Till's AUROC",
}


def title(name: str) -> str:
    """A record's name for people; a name this list does not know is spelt out."""
    stem, at, at_share = name.partition("_at_prevalence_")
    if at:
        return f"{title(stem)} at {share(float(at_share))} prevalence"
    return TITLES.get(name, name.replace("_", " ").capitalize())


def percent(share: float) -> str:
    """A share (0–1) in per cent with one decimal; never 0.0% or 100.0% unless it is."""
    return _honest(share, lambda value: f"{100 * value:.1f}%", least=0.001)


def fraction(value: float) -> str:
    """A number in 0–1 with three decimals; never 0.000 or 1.000 unless it is."""
    return _honest(value, signed, least=0.001)


def whole_of_hundred(share: float) -> str:
    """A share (0–1) as a whole number of a hundred, "98"; never 0 or 100 unless it is."""
    return _honest(share, lambda value: f"{100 * value:.0f}", least=0.01)


def plain(value: float) -> str:
    """Any other number, three significant digits and a true minus sign; whole above a thousand."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def signed(value: float) -> str:
    """A number that may be negative, three decimals, with a true minus sign."""
    return f"{value:.3f}".replace("-", "−")


def count(number: int | float) -> str:
    """A count with thousands set apart."""
    return f"{int(number):,}"


def duration(seconds: float) -> str:
    """A length of time for people: "48 s", "13 min 5 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def share(value: float) -> str:
    """A round share (0–1) that somebody chose, such as a prevalence: "5%", "12.5%"."""
    return f"{100 * value:g}%"


def formatter(name: str) -> Callable[[float], str]:
    """How values of the record `name` are printed."""
    stem = name.partition("_at_prevalence_")[0]
    if stem in _PERCENT:
        return percent
    if stem in _ANY_SIZE:
        return plain
    return signed if any(part in stem for part in _SIGNED) else fraction


def data(value: float, text: str, **source: str) -> Markup:
    """`text` as a `<data>` element with the full `value` and `data-*` attributes that name its source."""
    attributes = Markup("").join(
        Markup(' data-{}="{}"').format(key.replace("_", "-"), printable(item)) for key, item in source.items()
    )
    return Markup('<data value="{}"{}>{}</data>').format(repr(value), attributes, text)


def shown(record: Record, part: str = "value") -> Markup:
    """One part of a record (value, low or high) as it is printed; the reason, when it is withheld.

    Raises:
        ValueError: `part` is none of the three.
    """
    if part not in _PARTS:
        raise ValueError(f"A record has the parts {', '.join(_PARTS)}, got {part!r}.")
    value = getattr(record, part)
    if value is None:
        return Markup('<span class="withheld">{}</span>').format("withheld" if part == "value" else "no interval")
    where = {"record": record.name, "label": record.label, "slice": record.slice, "part": part}
    return data(value, formatter(record.name)(value), **where)


def interval(record: Record) -> Markup:
    """ "low to high", or "no interval"."""
    if record.low is None:
        return shown(record, "low")
    return Markup("{} to {}").format(shown(record, "low"), shown(record, "high"))


def level(record: Record) -> str:
    """The confidence level for a heading, "95%"."""
    return f"{100 * record.level:g}%"


def _honest(value: float, form: Callable[[float], str], least: float) -> str:
    text = form(value)
    if value < 1 and text == form(1.0):
        return f">{form(1 - least)}"
    if value > 0 and text == form(0.0):
        return f"<{form(least)}"
    return text
