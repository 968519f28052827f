"""How many reference labels must be wrong before a conclusion changes: the tipping point of label noise.

A conclusion is the strongest round claim that the lower limit still supports: "at least 95% are found", "at least 80%
are cleared", "AUROC at least 0.9". Labels are then turned over where that hurts the claim most, until its lower limit
no longer reaches the goal. The answer is a number of films that is *enough*; label errors that fall anywhere else must
be more. It says nothing about how likely such errors are: compare it with how often readers disagree.

Films are turned over in this order: for sensitivity, films without the finding that were called negative, the highest
scores first (they look most like the finding); for specificity, films with it that were called positive, the lowest
scores first; for AUROC, the lowest scored films without the finding or the highest scored films with it, whichever
class needs fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cxray.evaluate import rates
from cxray.evaluate.ranking import auroc_interval
from cxray.evaluate.record import LEVEL, Codes, Estimate, Flags
from cxray.evaluate.screening import Task

GOALS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_NO_CLAIM = "Not even the weakest claim, at least 0.5, is supported by the lower limit."
_CANNOT = "No number of such label errors would bring it down."

Columns = dict[str, np.ndarray[Any, Any]]
# Whether the claim still holds when the labels of these films, bool (films,), are turned over.
Holds = Callable[[Flags], bool]


def tipping_points(task: Task, calls: Flags, level: float = LEVEL) -> Columns:
    """One row a claim: `measure`, the goal `at_least` (0–1), `low` (the lower limit now), `films` to turn over, their
    `share` of the films whose label could be wrong in that way, `turned` (which films those are) and `withheld`.

    `calls` bool (films,) are the decisions. NaN where `withheld` gives a reason.
    """
    cleared, found = ~task.is_positive & ~calls, task.is_positive & calls
    by_score = np.argsort(task.scores, kind="stable")
    up, down = (order.astype(np.int64) for order in (by_score, by_score[::-1]))
    given = (task.patient, level)
    rows = [
        _row(
            "sensitivity",
            lambda truth: rates.sensitivity(calls, truth, *given),
            task.is_positive,
            {"without the finding, called negative": down[cleared[down]]},
        ),
        _row(
            "specificity",
            lambda truth: rates.specificity(calls, truth, *given),
            task.is_positive,
            {"with the finding, called positive": up[found[up]]},
        ),
        _row(
            "auroc",
            lambda truth: auroc_interval(task.scores, truth, *given),
            task.is_positive,
            {
                "without the finding, lowest scores": up[~task.is_positive[up]],
                "with the finding, highest scores": down[task.is_positive[down]],
            },
        ),
    ]
    columns: Columns = {"measure": np.array([row["measure"] for row in rows], dtype=object)}
    for name in ("at_least", "low", "films", "share"):
        columns[name] = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
    for name in ("turned", "withheld"):
        columns[name] = np.array([row.get(name, "") for row in rows], dtype=object)
    return columns


def fewest(order: Codes, holds: Holds, films: int) -> int | None:
    """The smallest number k for which turning over the first k films of `order` breaks the claim; None when none does.

    `order` holds positions (candidates,) among `films`. The claim is taken to hold at 0 and to weaken with k, so k is
    found by doubling and halving.
    """

    def is_broken(number: int) -> bool:
        turned = np.zeros(films, dtype=bool)
        turned[order[:number]] = True
        return not holds(turned)

    high = 1
    while high < len(order) and not is_broken(high):
        high *= 2
    high = min(high, len(order))
    if not len(order) or not is_broken(high):
        return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_broken(middle) else (middle, high)
    return high


def _row(measure: str, judge: Callable[[Flags], Estimate], truth: Flags, orders: dict[str, Codes]) -> dict[str, Any]:
    now = judge(truth)
    if now.value is None or now.low is None:
        return {"measure": measure, "withheld": now.withheld or "There is no interval, so no claim to overturn."}
    goal = max((goal for goal in GOALS if goal <= now.low), default=None)
    if goal is None:
        return {"measure": measure, "low": now.low, "withheld": _NO_CLAIM}
    holds = partial(_holds, judge, truth, goal)
    counted = {name: fewest(order, holds, len(truth)) for name, order in orders.items()}
    enough = {name: films for name, films in counted.items() if films is not None}
    row = {"measure": measure, "at_least": goal, "low": now.low}
    if not enough:
        return row | {"withheld": _CANNOT}
    turned = min(enough, key=lambda name: enough[name])
    return row | {"films": enough[turned], "share": enough[turned] / len(orders[turned]), "turned": turned}


def _holds(judge: Callable[[Flags], Estimate], truth: Flags, goal: float, turned: Flags) -> bool:
    found = judge(truth ^ turned)
    return found.low is not None and found.low >= goal
