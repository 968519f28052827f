"""Every refusal of the service: a machine-readable code, its HTTP status, a sentence, and what to do next.

The body is a problem document (RFC 9457, `application/problem+json`) with the members `code`, `next_step` and
`request_id` added. Texts name no file, no path and no value of a film. Where waiting helps, `Retry-After` is set.
"""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of refusal."""

    status: int
    title: str
    next_step: str = ""
    is_passing: bool = False


KINDS: dict[str, Kind] = {
    "bad_request": Kind(400, "The request is not valid.", "Compare it with /openapi.json."),
    "bad_deadline": Kind(400, "X-Deadline-Seconds must be a number above 0.", "Send for example 5."),
    "unauthorized": Kind(401, "A valid token is needed.", "Send the header 'Authorization: Bearer TOKEN'."),
    "host_not_allowed": Kind(403, "This service is not known by that host name.", "Use its own address."),
    "cross_site": Kind(403, "Requests from pages of other sites are refused.", "Open the page of this service."),
    "not_found": Kind(404, "There is nothing at this address.", "See /openapi.json."),
    "unknown_model": Kind(404, "There is no model of that name here.", "See /api/models."),
    "no_report": Kind(404, "No such page lies beside this model.", "Serve the bundle inside its run folder."),
    "method_not_allowed": Kind(405, "This address does not take that method.", "See /openapi.json."),
    "upload_too_large": Kind(413, "The upload is larger than this service accepts.", "Send fewer or smaller films."),
    "film_too_large": Kind(413, "The film has more pixels than any radiograph.", "Export it at its native size."),
    "too_many_films": Kind(413, "There are too many films in one request.", "Divide them over several requests."),
    "unsupported_format": Kind(415, "This is not a PNG, JPEG or DICOM film.", "Export it as PNG, JPEG or DICOM."),
    "dicom_not_installed": Kind(415, "This service reads PNG and JPEG only.", "Ask the operator for the extra dicom."),
    "unsupported_encoding": Kind(415, "This content encoding is not supported.", "Send gzip, deflate or none."),
    "empty_film": Kind(422, "The file is empty.", "Copy it again from its source."),
    "damaged_film": Kind(422, "The film cannot be decoded.", "Copy it again from its source."),
    "film_too_small": Kind(422, "The film has too few pixels to show a chest.", "Export it at its native size."),
    "film_refused": Kind(422, "The file is readable, but not a single chest radiograph.", "Send a frontal chest film."),
    "decoder_crashed": Kind(422, "The film made its decoder stop.", "Export it again with other software."),
    "decode_timeout": Kind(422, "Decoding the film took too long.", "Export it at its native size."),
    "no_film": Kind(422, "The request holds no film.", "Send the film as the body, or as form field 'file'."),
    "no_heat_map": Kind(422, "No heat map can be drawn for this model.", "Ask for the score alone."),
    "too_many_requests": Kind(429, "This client has too many films under way.", "Wait, then send again.", True),
    "queue_full": Kind(503, "All places are taken.", "Wait, then send again.", True),
    "not_ready": Kind(503, "The model is still being loaded and checked.", "Wait, then send again.", True),
    "draining": Kind(503, "The service is shutting down.", "Send to another instance, or wait for its return.", True),
    "deadline_exceeded": Kind(503, "The answer was not ready in time.", "Wait, then send again.", True),
    "model_failed": Kind(503, "The model could not be run.", "Tell the operator the request id.", True),
    "audit_unavailable": Kind(503, "The audit log cannot be written.", "Tell the operator.", True),
    "internal": Kind(503, "Something failed inside the service.", "Tell the operator the request id.", True),
    "client_gone": Kind(499, "The client closed the connection."),
}
OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "upload_too_large", 415: "unsupported_format"}
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal on its way to the client; `detail` may add one client-safe sentence."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code, self.detail, self.kind = code, detail, KINDS[code]

    def document(self, request_id: str) -> dict[str, Any]:
        """The body for our own routes."""
        return {
            "type": f"urn:cxray:problem:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "detail": self.detail or self.kind.title,
            "next_step": self.kind.next_step,
            "request_id": request_id,
        }

    def headers(self, retry_after_seconds: int) -> dict[str, str]:
        """Headers that belong to the refusal."""
        headers = {"Retry-After": str(retry_after_seconds)} if self.kind.is_passing else {}
        if self.code == "unauthorized":
            headers["WWW-Authenticate"] = 'Bearer realm="cxray"'
        return headers
