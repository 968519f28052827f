"""What a model card and its checklists are written from: a bundle, an evaluation, and the authors' statements.

Numbers come out as `<data>` elements that name where they stand: a record or fact of the evaluation, or a key of
`bundle.json`. Authors state what no machine can know (ethics, funding, where films come from) in a TOML file of
key = "text"; a statement stands beside the evidence, never in its place.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cxray.errors import UsageError
from cxray.evaluate.evaluation import Evaluation
from cxray.evaluate.record import Record
from cxray.report import numbers
from cxray.report.questions import Question, questions_of
from cxray.report.sentences import plural

# Asked of the authors besides the keys of the checklists.
CARD_STATEMENTS = ("license", "developers", "contact", "citation", "data_name", "data_url", "out_of_scope")


@dataclasses.dataclass(frozen=True, eq=False)
class Sources:
    """`bundle` is the content of `bundle.json`, `evaluation` the judgement of its test films, `statements` by key."""

    bundle: Mapping[str, Any]
    evaluation: Evaluation
    statements: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def question(self) -> Question | None:
        """The first question that was judged: the positive class, where there is one."""
        return next(iter(questions_of(self.evaluation)), None)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts of the evaluation."""
        return self.evaluation.facts

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe that trained the model; empty when the bundle does not tell."""
        found = self.bundle.get("recipe")
        return found if isinstance(found, Mapping) else {}

    def setting(self, section: str, key: str) -> Any:
        """One setting of the recipe, None when it is unknown."""
        part = self.recipe.get(section)
        return part.get(key) if isinstance(part, Mapping) else None

    def record(self, name: str) -> Record | None:
        """A record of the first question that has a value; None otherwise."""
        found = self.question.record(name) if self.question else None
        return found if found is not None and found.value is not None else None

    def measure(self, name: str) -> Markup:
        """A record in words: its title, value and interval; "" when there is none."""
        record = self.record(name)
        if record is None:
            return Markup("")
        start = Markup("{} {}").format(numbers.title(name), numbers.shown(record))
        if record.low is None:
            return start
        return start + Markup(" ({} interval {})").format(numbers.level(record), numbers.interval(record))

    def of_bundle(self, key: str, text: str = "") -> Markup:
        """A number of `bundle.json` by its path ("data/films/train"); "" when it is not there."""
        value: Any = self.bundle
        for part in key.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return Markup("")
        return numbers.data(value, text or _short(value), bundle=key)

    def of_facts(self, key: str, text: str = "") -> Markup:
        """A number of the evaluation's facts by its path; "" when it is not there."""
        value: Any = self.facts
        for part in key.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return Markup("")
        return numbers.data(value, text or _short(value), fact=key)

    def films_and_patients(self, split: str) -> Markup:
        """ "4,431 films of 3,077 patients" of a split of the training data; "" when unknown."""
        films, patients = self.of_bundle(f"data/films/{split}"), self.of_bundle(f"data/patients/{split}")
        if not films:
            return Markup("")
        return Markup("{} {} films").format(films, split) + (
            Markup(" of {} patients").format(patients) if patients else Markup("")
        )

    @property
    def judged(self) -> Markup:
        """ "624 films of 428 patients" that were judged."""
        films, patients = self.of_facts("films"), self.of_facts("patients")
        if not films:
            return Markup("")
        start = Markup("{} {}").format(films, plural(int(self.facts.get("films") or 0), "film"))
        return start + Markup(" of {} patients").format(patients) if self.facts.get("patients") else start


def read_statements(path: Path, known: frozenset[str]) -> dict[str, str]:
    """The authors' statements of a TOML file of key = "text"; empty texts count as not stated.

    Raises:
        UsageError: no such file, not TOML, a key that nothing asks for, or a value that is no text.
    """
    if not path.is_file():
        raise UsageError(f"There are no statements at {path}.", 'Give a TOML file of key = "text".')
    try:
        table = tomllib.loads(path.read_text("utf-8", errors="replace"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", "Correct that line.") from error
    known = known | frozenset(CARD_STATEMENTS)
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"{path}: nothing asks for {key!r}.{hint}", f"Keys: {', '.join(sorted(known))}.")
        if not isinstance(value, str):
            raise UsageError(f"{path}: {key!r} must be a text, got {value!r}.", "Put it in quotes.")
    return {key: value.strip() for key, value in table.items() if value.strip()}


def _short(value: int | float) -> str:
    return numbers.count(value) if isinstance(value, int) else numbers.plain(value)
