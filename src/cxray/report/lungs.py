"""Is it using the lungs? What is known of where a model's answers come from, and whether its maps may be shown.

The facts come from an attribution card (`facts["attribution"]`), which tests a model's maps before anybody sees them.
`passed` (bool) says whether they survived, `reason` why or why not, `summary` what was found about the model. Whatever
else the card says, its tests above all, is shown to experts as facts and tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from cxray.evaluate.evaluation import Evaluation
from cxray.report.evidence import Evidence, evidence_of
from cxray.report.text import printable

_FACT = "attribution"
_SPOKEN = ("passed", "reason", "summary", "schema")
_NOT_SHOWN = "Maps are not shown"
ABSENT = (
    "No attribution card was given: where in the film the scores come from has not been tested for this model. "
    "Make one with cxray explain BUNDLE --card DATA, then judge with --bundle."
)


@dataclasses.dataclass(frozen=True)
class Lungs:
    """`summary` says what the card found; `missing` why there is none or why maps are not shown; `evidence` is the
    whole card.
    """

    summary: str
    missing: str
    shows_maps: bool
    evidence: Evidence


def lungs(evaluation: Evaluation) -> Lungs:
    """What the attribution card in the facts says."""
    card = evaluation.facts.get(_FACT)
    if not isinstance(card, Mapping):
        return Lungs("", ABSENT, False, Evidence((), ()))
    passed = bool(card.get("passed"))
    reason = printable(str(card.get("reason") or "The card does not say that its maps passed."))
    return Lungs(
        summary=printable(str(card.get("summary") or "")),
        missing="" if passed else reason if reason.startswith(_NOT_SHOWN) else f"{_NOT_SHOWN}: {reason}",
        shows_maps=passed,
        evidence=evidence_of({key: value for key, value in card.items() if key not in _SPOKEN}, _FACT),
    )
