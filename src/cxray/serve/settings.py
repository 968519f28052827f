"""What a service is started with: bundles, address, token, and every limit with its reason.

Limits are there so that no visitor, careless or hostile, can take more than a known amount of memory, time or places.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

from cxray.errors import UsageError

MEBIBYTE = 1024 * 1024
MINIMUM_TOKEN_CHARACTERS = 16


@dataclasses.dataclass(frozen=True)
class Limits:
    """Ceilings of one service.

    `upload_bytes`: one request's body. `films_per_request`: films of one batch request or tensors of one inference
    request. `places`: films being read, decoded, waiting or scored at once; what comes beyond gets 503.
    `places_per_client`: of these, for one address; beyond gets 429. `held_bytes`: bodies in memory at once.
    `batch`: films of one model run. `deadline_seconds`: from the first byte to the answer. `decode_seconds` and
    `decode_memory_bytes`: one film in its child process. `view_side_pixels`: the longer side of what the viewer gets.
    `drain_seconds`: for requests under way when the service is told to stop.
    """

    upload_bytes: int = 64 * MEBIBYTE
    films_per_request: int = 32
    places: int = 64
    places_per_client: int = 48
    held_bytes: int = 512 * MEBIBYTE
    batch: int = 16
    deadline_seconds: float = 30.0
    decode_seconds: float = 10.0
    decode_memory_bytes: int = 2048 * MEBIBYTE
    view_side_pixels: int = 4096
    retry_after_seconds: int = 1
    drain_seconds: int = 20


@dataclasses.dataclass(frozen=True)
class Settings:
    """One service: `bundles` maps the names that requests use to folders, the first is the default model.

    `samples` is a folder whose films the page offers to try; `threads` are the engine's (0 = all cores), `decoders` the
    child processes (0 = one a core).

    Raises:
        UsageError: no bundle, a token too short to be one, or an address beyond this machine without a token.
    """

    bundles: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 8080
    token: str = ""
    allowed_hosts: tuple[str, ...] = ()
    engine: str = "auto"
    threads: int = 0
    decoders: int = 0
    audit_log: Path | None = None
    samples: Path | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.bundles:
            raise UsageError("There is nothing to serve.", "Name at least one bundle.")
        if self.token and (len(self.token) < MINIMUM_TOKEN_CHARACTERS or not _is_token(self.token)):
            raise UsageError(
                f"The token has {len(self.token)} characters; at least {MINIMUM_TOKEN_CHARACTERS} printable ASCII "
                "characters without blanks are needed.",
                'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"',
            )
        if not self.is_local and not self.token:
            raise UsageError(
                f"{self.host} can be reached from other machines, and no token was given.",
                "Give --token-file FILE, or serve on 127.0.0.1 only.",
            )

    @property
    def is_local(self) -> bool:
        """Whether the address can be reached from this machine only."""
        return is_loopback(self.host)

    @property
    def decoder_count(self) -> int:
        """Child processes that decode."""
        return self.decoders or os.cpu_count() or 1


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_token(token: str) -> bool:
    return all(33 <= ord(character) <= 126 for character in token)
