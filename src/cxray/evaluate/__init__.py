"""The judge: a predictions table in, records and exhibits out. Draws nothing and never sees a model.

Names are loaded when first used, so importing this room costs nothing and a bundle can use `thresholds` alone. The
room itself can be called: `cxray.evaluate(table)` is `cxray.evaluate.evaluate(table)`.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxray.evaluate.calibration import Calibration
    from cxray.evaluate.comparison import Comparison, Goal, compare
    from cxray.evaluate.evaluation import Evaluation
    from cxray.evaluate.foreign import read_foreign
    from cxray.evaluate.planning import Plan, plan
    from cxray.evaluate.record import Record
    from cxray.evaluate.selfcheck import Check, selftest
    from cxray.evaluate.summary import evaluate
    from cxray.evaluate.thresholds import Policy, Threshold
    from cxray.records import Predictions

_HOME = {
    "Calibration": "calibration",
    "Check": "selfcheck",
    "Comparison": "comparison",
    "Evaluation": "evaluation",
    "Goal": "comparison",
    "Plan": "planning",
    "Policy": "thresholds",
    "Record": "record",
    "Threshold": "thresholds",
    "compare": "comparison",
    "evaluate": "summary",
    "plan": "planning",
    "read_foreign": "foreign",
    "selftest": "selfcheck",
}

__all__ = [
    "Calibration",
    "Check",
    "Comparison",
    "Evaluation",
    "Goal",
    "Plan",
    "Policy",
    "Record",
    "Threshold",
    "compare",
    "evaluate",
    "plan",
    "read_foreign",
    "selftest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Room(types.ModuleType):
    """This module, made callable, because the house promises `cxray.evaluate(...)` and the room bears the same name."""

    def __call__(self, predictions: Predictions, **options: Any) -> Evaluation:
        """Judge `predictions`; the options are those of `evaluate`."""
        from cxray.evaluate.summary import evaluate

        return evaluate(predictions, **options)


sys.modules[__name__].__class__ = _Room
