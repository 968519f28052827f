"""A figure's SVG made fit to stand inside a page: its own identifiers, the page's colours and font, and a title.

Several figures share one document, so every identifier gets the figure's name in front. Literal colours become the
page's variables, which is how figures follow light and dark. The result is markup that needs no further escaping.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from markupsafe import Markup

from cxray.report.palette import PAGE_VARIABLES
from cxray.report.text import printable

_XLINK = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LINK = re.compile(r'xlink:href="#([^"]+)"')
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_DROPPED = ("metadata", "style")
# What the page's script looks for, under the names that the drawing gave (its gids); may occur more than once.
_PARTS = ("plot-area", "threshold-line")


def inline_svg(svg: str, *, name: str, title: str) -> Markup:
    """`svg` (as `figures.figure_svg` gives it) for a page; `name` is unique in the page, `title` says what is seen."""
    root = ElementTree.fromstring(svg)
    _drop(root)
    used = frozenset(_REFERENCE.findall(svg)) | frozenset(_LINK.findall(svg))
    for element in root.iter():
        # HTML knows SVG by its tags alone; a namespace would come out as a prefix.
        element.tag = element.tag.rpartition("}")[2]
        _rewrite(element, name, used)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    # Figures set these for every element; as attributes of the root they reach no further than the figure.
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt", "role": "img", "class": "drawing"}
    root.set("aria-label", printable(title))
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _drop(parent: ElementTree.Element) -> None:
    for child in list(parent):
        if child.tag.rpartition("}")[2] in _DROPPED:
            parent.remove(child)
        else:
            _drop(child)


def _rewrite(element: ElementTree.Element, name: str, used: frozenset[str]) -> None:
    for key, value in list(element.attrib.items()):
        if key == "id":
            del element.attrib[key]
            if value in used:
                element.set("id", f"{name}-{value}")
            elif value in _PARTS:
                element.set("data-part", value)
        elif key == _XLINK:
            del element.attrib[key]
            element.set("href", f"#{name}-{value[1:]}" if value.startswith("#") else value)
        elif key == "style":
            # A page that allows one style sheet, by hash, ignores style attributes; SVG has an attribute for each.
            del element.attrib[key]
            element.attrib |= {term: _page_value(text, name) for term, text in _declarations(value)}
        else:
            element.set(key, _page_value(value, name))


def _declarations(style: str) -> list[tuple[str, str]]:
    pairs = (part.partition(":") for part in style.split(";") if part.strip())
    return [(term.strip(), text.strip()) for term, _, text in pairs if term.strip() != "font-family"]


def _page_value(value: str, name: str) -> str:
    value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
    return _COLOUR.sub(lambda found: PAGE_VARIABLES.get(found.group(), found.group()), value)
