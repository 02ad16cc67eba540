"""Width of text in terminal cells: a Chinese character takes two, a combining mark none."""

import unicodedata

__all__ = ["pad", "shorten", "text_width"]

ELLIPSIS = "…"
# Hangul vowels and final consonants join the preceding syllable (Unicode Standard, section 3.12).
JOINING_JAMO = range(0x1160, 0x1200)


def text_width(text: str) -> int:
    """Return the number of cells of a text without control characters."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def pad(text: str, width: int) -> str:
    """Append spaces up to the width."""
    return text + " " * (width - text_width(text))


def shorten(text: str, width: int) -> str:
    """Cut the text to the width; a cut text ends with an ellipsis."""
    if text_width(text) <= width:
        return text
    cells, kept = 1, 0
    for char in text:
        cells += _char_width(char)
        if cells > width:
            break
        kept += 1
    return text[:kept] + ELLIPSIS


def _char_width(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"} or ord(char) in JOINING_JAMO:
        return 0
    # Ambiguous characters take one cell, except in East Asian legacy encodings (UAX #11).
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
