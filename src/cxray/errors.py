"""Every failure that a user can cause, as one family.

    CxrayError                 exit 1   HTTP 500
    ├── UsageError             exit 2   HTTP 400   an option or argument that cannot be meant
    │   └── ConfigError        exit 2   HTTP 400   a recipe or setting that cannot be meant
    ├── DataError              exit 3   HTTP 422   films or tables that cannot be used
    │   ├── UnreadableImage    exit 3   HTTP 415   one film that cannot be decoded
    │   │   └── RefusedFilm    exit 3   HTTP 422   a readable film that no model here may judge
    │   ├── LabelError         exit 3   HTTP 422   labels that contradict the table or the model
    │   └── SplitError         exit 3   HTTP 422   too few patients to divide honestly
    ├── BundleError            exit 4   HTTP 500   a bundle that is damaged or of another make
    ├── OutputError            exit 5   HTTP 507   a result that could not be written
    ├── MissingExtra           exit 6   HTTP 501   a feature whose libraries are not installed
    ├── SealedTestError        exit 7   HTTP 409   a choice attempted on the test set
    ├── PartialResult          exit 8   HTTP 207   finished, but some inputs have no result
    └── ClusterError           exit 9   HTTP 503   a cluster that cannot be reached, or that cannot do the work

A message says what was expected, what came and which file; `next_step` says what to do now. Both are for the
person at the keyboard. `client_text` is what may leave the machine: it names no file and no value.
"""

from __future__ import annotations


class CxrayError(Exception):
    """Base of the family.

    `message` is one sentence for the user; `next_step`, when given, is one imperative sentence.
    """

    exit_code = 1
    http_status = 500
    client_text = "The request could not be completed."

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class UsageError(CxrayError):
    """An option or argument that cannot be meant."""

    exit_code = 2
    http_status = 400
    client_text = "The request is not valid."


class ConfigError(UsageError):
    """A recipe or setting that cannot be meant; names the key and, where one is near, the key that was meant."""


class DataError(CxrayError):
    """Films or tables that cannot be used as they are."""

    exit_code = 3
    http_status = 422
    client_text = "The data cannot be used."


class UnreadableImage(DataError):
    """One film that cannot be decoded. In bulk work it becomes a row with an `error`, never a stop."""

    http_status = 415
    client_text = "The image cannot be read."


class RefusedFilm(UnreadableImage):
    """A film that could be decoded but must not be judged: another view, another part of the body, our own result.

    `reason` is a code such as "lateral-view" (see `cxray.data.dicom.admission`); it holds no patient data and may
    leave the machine. In bulk work it becomes a row with an `error`, as every unreadable film does.
    """

    http_status = 422
    client_text = "The image is not one that this model may judge."

    def __init__(self, message: str, next_step: str = "", *, reason: str = "") -> None:
        super().__init__(message, next_step)
        self.reason = reason


class LabelError(DataError):
    """Labels that contradict each other, the table or the model."""


class SplitError(DataError):
    """Too few patients or films to divide without fooling oneself."""


class BundleError(CxrayError):
    """A bundle that is damaged, incomplete or made by a newer version."""

    exit_code = 4
    client_text = "The model is not available."


class OutputError(CxrayError):
    """A result that could not be written; nothing half-written is left under its final name."""

    exit_code = 5
    http_status = 507
    client_text = "The result could not be stored."


class MissingExtra(CxrayError):
    """A feature whose libraries are not installed."""

    exit_code = 6
    http_status = 501
    client_text = "This feature is not installed."


class SealedTestError(CxrayError):
    """A threshold, a calibration or a checkpoint was about to be chosen on test films."""

    exit_code = 7
    http_status = 409
    client_text = "The test set is sealed."


class PartialResult(CxrayError):
    """The work is done and written, but some inputs have no result; their rows say why."""

    exit_code = 8
    http_status = 207
    client_text = "Some inputs have no result."


class ClusterError(CxrayError):
    """A cluster that cannot be reached, or that cannot do the work as it stands; says which node and why."""

    exit_code = 9
    http_status = 503
    client_text = "The cluster is not available."
