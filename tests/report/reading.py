"""A finished page, read back: its elements, its text, and every number with the source that it names."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

_VOID = frozenset({"meta", "input", "img", "br", "link"})


@dataclasses.dataclass
class Element:
    """One start tag with its attributes and all the text inside it."""

    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""


class Page(HTMLParser):
    """Every element of a page in order; `text` is the whole visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[Element] = []
        self.text = ""
        self._open: list[Element] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        parents = tuple(element.tag for element in self._open)
        element = Element(tag, {name: value or "" for name, value in attributes}, parents)
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        closed = self._open.pop()
        assert closed.tag == tag, f"</{tag}> closes <{closed.tag}>"

    def handle_data(self, text: str) -> None:
        for element in self._open:
            element.text += text
        if not {"style", "script"} & {element.tag for element in self._open}:
            self.text += text

    def close(self) -> None:
        super().close()
        assert not self._open, f"<{self._open[-1].tag}> is never closed"

    def all(self, tag: str, **wanted: str) -> list[Element]:
        """Elements of `tag` whose attributes have the `wanted` values (underscores stand for hyphens)."""
        pairs = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag and all(element.attributes.get(key) == value for key, value in pairs.items())
        ]
