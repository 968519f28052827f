"""How a film enters the node, whichever way it came: into the spool, then into the queue, then the sender is told."""

from __future__ import annotations

import dataclasses

from cxray.pacs.journal import Journal
from cxray.pacs.queue import Queue
from cxray.pacs.state import State

# Below this the node takes nothing more: a full disk would also stop the queue and the results.
LEAST_FREE_BYTES = 1 << 30


class IntakeFull(Exception):
    """Nothing can be taken now; the sender should try again later. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclasses.dataclass(frozen=True, eq=False)
class Intake:
    """The door of the node. `fingerprint` is the model's: the same film is new to another model."""

    state: State
    queue: Queue
    journal: Journal
    fingerprint: str
    most_waiting: int = 100_000
    least_free_bytes: int = LEAST_FREE_BYTES

    def key_of(self, sop_instance_uid: str) -> str:
        """The job that belongs to a film."""
        return self.state.key_of(sop_instance_uid, self.fingerprint)

    def knows(self, sop_instance_uid: str) -> bool:
        """Whether a film was taken before."""
        return bool(self.queue.state_of(self.key_of(sop_instance_uid)))

    def check_room(self) -> None:
        """Refuse while the disk or the queue is full.

        Raises:
            IntakeFull: with the reason.
        """
        if self.state.free_bytes() < self.least_free_bytes:
            raise IntakeFull("disk-full")
        if self.queue.depth() >= self.most_waiting:
            raise IntakeFull("queue-full")

    def take(self, sop_instance_uid: str, content: bytes) -> bool:
        """Store a film (a whole DICOM file); False when it is known. On return it survives a power cut.

        Raises:
            IntakeFull: no room; nothing was stored.
        """
        self.check_room()
        key = self.key_of(sop_instance_uid)
        if self.queue.state_of(key) in ("done", "dead"):
            self.queue.count({("arrivals", "repeated"): 1.0})
            return False
        try:
            self.state.spool(key, content)
        except OSError as error:
            self.journal.fault(error, film=key)
            raise IntakeFull("disk") from error
        is_new = self.queue.add(key, {("bytes", "received"): float(len(content))})
        if not is_new and self.queue.state_of(key) in ("done", "dead"):
            self.state.spooled(key).unlink(missing_ok=True)  # it was finished while this copy was written
        self.journal.note("arrived", film=key, new=is_new, bytes=len(content))
        return is_new
