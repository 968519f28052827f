"""A judgement under a protocol: the role of each record, the verdict on the primary goal, and what was added too late.

`current` is the protocol as it is now; `before` the version that was locked before the judged films were first opened,
None when none was. Only what `before` names can confirm anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.protocol import EXPLORATORY, Lock, PrimaryGoal, Protocol
from cxray.evaluate.record import Record


def judged_under(
    judgement: Evaluation, current: Protocol, before: Protocol | None, locks: Sequence[Lock]
) -> Evaluation:
    """The judgement with roles, the verdict on the primary goal, and what the protocol's history allows to claim."""
    extra = _gain_in_harm_range(judgement, current)
    records = with_roles([*judgement.records, *extra], before)
    labels = [record.label for record in records if record.name == "auroc" and not record.slice]
    primary = {
        record.label: verdict(record, current.primary)
        for record in records
        if record.name == current.primary.metric and not record.slice and record.label in labels
    }
    facts: dict[str, Any] = {
        "title": current.title,
        "question": current.question,
        "sha256": current.sha256,
        "locked_at": locks[-1].locked_at.isoformat(),
        "versions": len(locks),
        "in_force_sha256": before.sha256 if before else "",
        "settings": dataclasses.asdict(current),
        "primary": primary,
        "added_after_opening": _additions(current, before),
    }
    said = list(judgement.facts.get("warnings", ()))
    if before is None:
        said.append("The protocol was locked after these films were first opened, so every analysis is exploratory.")
    elif facts["added_after_opening"]:
        named = ", ".join(facts["added_after_opening"])
        said.append(f"Added to the protocol after these films were first opened, hence exploratory: {named}.")
    return dataclasses.replace(
        judgement, records=records, facts={**judgement.facts, "protocol": facts, "warnings": said}
    )


def _additions(current: Protocol, before: Protocol | None) -> list[str]:
    """What the current version names and the one in force at the first opening does not."""
    if before is None or before.sha256 == current.sha256:
        return []
    named = [current.primary.metric, *current.secondary]
    return [
        *[name for name in named if before.role(name) == EXPLORATORY],
        *[f"subgroups of {name}" for name in current.subgroups if name not in before.subgroups],
        *[f"prevalence {share:g}" for share in current.prevalences if share not in before.prevalences],
        *(["harm range"] if current.harm != before.harm else []),
        *(["primary goal"] if current.primary != before.primary else []),
        *(["threshold rule"] if current.threshold != before.threshold else []),
    ]


def _gain_in_harm_range(judgement: Evaluation, protocol: Protocol) -> list[Record]:
    """For each question the smallest net benefit over the better of calling all and none, inside the harm range."""
    low, high, table = protocol.harm.low, protocol.harm.high, judgement.tables.get("decision_curve")
    if low is None or high is None or table is None:
        return []
    records = []
    for record in [one for one in judgement.records if one.name == "auroc" and not one.slice]:
        inside = (table["label"] == record.label) & (table["threshold"] >= low - 1e-9)
        inside &= table["threshold"] <= high + 1e-9
        named = dataclasses.replace(record, name="least_gain_in_harm_range", low=None, high=None, assumptions=())
        if not inside.any():
            reason = "The decision curve has no point inside the harm range."
            records.append(dataclasses.replace(named, value=None, withheld=reason))
            continue
        gain = table["net_benefit"][inside] - np.maximum(table["treat_all"][inside], 0.0)
        worst = int(np.argmin(gain))
        note = (
            f"Net benefit above the better of calling every film and none, at its worst between {low:g} and {high:g}: "
            f"at {table['threshold'][inside][worst]:g}. Given without an interval."
        )
        records.append(
            dataclasses.replace(
                named, value=float(gain[worst]), withheld="", method="decision curve", assumptions=(note,)
            )
        )
    return records


def with_roles(records: Sequence[Record], protocol: Protocol | None) -> tuple[Record, ...]:
    """The records with the roles that `protocol` gives them; all exploratory when None was in force."""
    return tuple(
        dataclasses.replace(record, role=protocol.role(record.name, record.slice) if protocol else EXPLORATORY)
        for record in records
    )


def verdict(record: Record, goal: PrimaryGoal) -> dict[str, Any]:
    """Whether the primary record reaches its goal: `met` is True, False (shown not to), or None (cannot tell).

    The whole interval must lie on the right side; a goal on the wrong side of the whole interval is missed.
    """
    facts = {"metric": goal.metric, "at_least": goal.at_least, "at_most": goal.at_most, "met": None, "reason": ""}
    if record.value is None:
        return {**facts, "reason": record.withheld}
    if goal.at_least is None and goal.at_most is None:
        return {**facts, "reason": "The protocol states no goal, so the measure is estimated and nothing is decided."}
    if record.low is None or record.high is None:
        return {**facts, "reason": "The measure has no interval, so nothing can be decided."}
    if goal.at_least is not None:
        reached, missed = record.low >= goal.at_least, record.high < goal.at_least
    else:
        reached, missed = record.high <= (goal.at_most or 0.0), record.low > (goal.at_most or 0.0)
    reason = "" if reached or missed else "The interval holds the goal: these films cannot decide."
    return {**facts, "met": True if reached else False if missed else None, "reason": reason}
