"""Our proposals as a search algorithm of Ray Tune. Importing this imports Ray.

Tune stores its search algorithm as a whole; ours is a number there, and the desk with the proposals stays here.
"""

from __future__ import annotations

from typing import Any, Protocol

from ray.tune.search import Searcher


class Desk(Protocol):
    """Who hands out trials, and takes them back."""

    def take(self, number: str) -> dict[str, str] | None:
        """The configuration of Tune's trial `number`; None when there is no more."""
        ...

    def give_back(self, number: str, *, is_error: bool) -> None:
        """Tune's trial `number` has ended."""
        ...


_DESKS: dict[int, Desk] = {}


def search_at(desk: Desk) -> DeskSearch:
    """The search algorithm that asks `desk`."""
    number = len(_DESKS)
    _DESKS[number] = desk
    return DeskSearch(number)


class DeskSearch(Searcher):  # type: ignore[misc, unused-ignore]
    """Asks the desk of this process by its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def suggest(self, trial_id: str) -> Any:
        """See `ray.tune.search.Searcher`."""
        return _DESKS[self.number].take(trial_id) or Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """See `ray.tune.search.Searcher`."""
        _DESKS[self.number].give_back(trial_id, is_error=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is finished stands in the trials' own folders."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""
