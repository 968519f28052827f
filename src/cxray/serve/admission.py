"""Who may come in: a bounded number of films and of bytes, and no client with more than its share.

A place is taken before the body is read and given back when the answer is out, so the memory of all requests
together is bounded whatever arrives.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from cxray.serve.problems import Problem
from cxray.serve.settings import Limits


class Admission:
    """Counts films and bytes under way."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of_client: Counter[str] = Counter()
        self.films = 0
        self.bytes = 0

    @contextlib.contextmanager
    def place(self, client: str, *, films: int, size_bytes: int) -> Iterator[None]:
        """Hold `films` places and `size_bytes` of memory for `client` while the block runs.

        Raises:
            Problem: the client holds too many already (429), or all places or bytes are taken (503).
        """
        if self._of_client[client] + films > self._limits.places_per_client:
            raise Problem("too_many_requests")
        if self.films + films > self._limits.places or self.bytes + size_bytes > self._limits.held_bytes:
            raise Problem("queue_full")
        self._add(client, films, size_bytes)
        try:
            yield
        finally:
            self._add(client, -films, -size_bytes)

    def _add(self, client: str, films: int, size_bytes: int) -> None:
        self.films += films
        self.bytes += size_bytes
        self._of_client[client] += films
        if not self._of_client[client]:
            del self._of_client[client]
