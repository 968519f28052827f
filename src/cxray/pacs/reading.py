"""What was made of one film: its findings or the reason for refusing it, and the pictures that go with it.

This is the noun between prediction and the writers of results. A film has findings or a refusal, never both.
"""

from __future__ import annotations

import dataclasses
import datetime
import re

import numpy as np
import numpy.typing as npt

from cxray.errors import DataError
from cxray.pacs.codes import FindingCode

PRESENCES = ("present", "absent", "undetermined")
_REASON = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One finding: its class, code, probability (0–1) and what the frozen threshold makes of it.

    `presence` is "undetermined" when the bundle has no threshold for it.
    """

    name: str
    code: FindingCode
    probability: float
    presence: str
    threshold: float | None

    def __post_init__(self) -> None:
        if self.presence not in PRESENCES:
            raise DataError(f"The presence of a finding must be one of {', '.join(PRESENCES)}, got {self.presence!r}.")
        if not 0 <= self.probability <= 1:
            raise DataError(f"A probability must lie between 0 and 1, got {self.probability!r}.")


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why a film is not assessed: `reason`, lower-case words with hyphens, and one sentence without patient data."""

    reason: str
    text: str

    def __post_init__(self) -> None:
        if not _REASON.fullmatch(self.reason):
            raise DataError(f"A reason must be lower-case words joined by hyphens, got {self.reason!r}.")


@dataclasses.dataclass(frozen=True, slots=True)
class Maker:
    """Who reports: the bundle's `name`, the `identifier` of its graph, this software's `version`.

    `fingerprint` (hexadecimal) stands for everything that decides what a result says: graph, thresholds, codes. It goes
    into every derived UID.
    """

    name: str
    identifier: str
    version: str
    fingerprint: str


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """The outcome for one film.

    `picture` is the film as displayed, uint8 (height, width), 0 = black, upright; None when it could not be decoded.
    `activation` is float32 (height, width) of any size over the same film, 0–1, for the finding `activation_of`. `made`
    is the time of the assessment. `remark` is one sentence, without patient data, that must be read with the findings.
    """

    findings: tuple[Finding, ...]
    made: datetime.datetime
    refusal: Refusal | None = None
    picture: npt.NDArray[np.uint8] | None = None
    activation: npt.NDArray[np.float32] | None = None
    activation_of: str = ""
    remark: str = ""

    def __post_init__(self) -> None:
        if bool(self.findings) == (self.refusal is not None):
            raise DataError("A reading has findings or a refusal, and never both.")

    @property
    def present(self) -> tuple[Finding, ...]:
        """The findings at or above their thresholds."""
        return tuple(finding for finding in self.findings if finding.presence == "present")

    @property
    def outcome(self) -> str:
        """One word: "refused", "finding" (at least one is present), "undetermined" (not all are decided) or "clear"."""
        if self.refusal is not None:
            return "refused"
        if self.present:
            return "finding"
        return "undetermined" if any(each.presence == "undetermined" for each in self.findings) else "clear"
