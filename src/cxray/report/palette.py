"""The colours of every figure, and the page variable that each becomes so that dark mode recolours figures too.

Blue and orange stay apart for colour-blind eyes, and no figure relies on colour alone: lines differ in dash, bars in
hatching, cells carry their counts.
"""

from __future__ import annotations

INK = "#1d2733"
MUTED = "#5c6776"
RULE = "#d9dde3"
PAPER = "#ffffff"
MODEL = "#1f5c8c"
POSITIVE = "#b5502b"
NEGATIVE = "#2f73a6"
SHADE = "#eef1f5"

# Inlined figures take their colours from the page; a figure saved to a file keeps these literal ones.
PAGE_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--card)",
    MODEL: "var(--model)",
    POSITIVE: "var(--positive)",
    NEGATIVE: "var(--negative)",
    SHADE: "var(--shade)",
}
