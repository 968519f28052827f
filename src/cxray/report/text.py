"""Hostile text made safe to show: names of files, classes and patients come from anywhere.

Markup is escaped by the templates; this module deals with what escaping does not: control characters, which are not
allowed in SVG and may reverse a line, lone surrogates, which cannot be written as UTF-8, and names without an end.
"""

from __future__ import annotations

import unicodedata

# Cc control, Cs lone surrogate, Cf invisible format characters such as the right-to-left override.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Cf", "Co", "Cn"})
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """`text` with every control, invisible or undefined character shown as the replacement character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_REPLACEMENT if unicodedata.category(sign) in _UNPRINTABLE else sign for sign in text)


def clip(text: str, length: int) -> str:
    """`text` in at most `length` characters: the middle gives way, since both ends of a path tell films apart."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"
