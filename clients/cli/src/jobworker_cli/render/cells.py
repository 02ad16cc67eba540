"""How many cells of a terminal a text takes: Chinese characters take two, combining marks none."""

import unicodedata

__all__ = ["cut", "pad", "width_of"]

ELLIPSIS = "…"
# Hangul vowels and final consonants join the syllable before them (Unicode Standard, section 3.12).
JOINING_JAMO = range(0x1160, 0x1200)


def width_of(text: str) -> int:
    """Returns the number of cells; the text has no control characters."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def pad(text: str, width: int) -> str:
    """Returns the text with spaces up to the width."""
    return text + " " * (width - width_of(text))


def cut(text: str, width: int) -> str:
    """Returns the text, or as much of it as fits into the width before an ellipsis."""
    if width_of(text) <= width:
        return text
    taken, kept = 1, 0
    for char in text:
        taken += _cells(char)
        if taken > width:
            break
        kept += 1
    return text[:kept] + ELLIPSIS


def _cells(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"} or ord(char) in JOINING_JAMO:
        return 0
    # Ambiguous characters take one cell outside of East Asian legacy encodings (UAX #11).
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
