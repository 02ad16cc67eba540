"""Queries that a terminal answers as if the user typed the answer."""

import re

__all__ = ["QueryFilter"]

_QUERY = re.compile(
    rb"\x05"  # ENQ
    rb"|\x1bZ|\x1b\[[?>=]?[0-9;]*c"  # the kind of the terminal (DA)
    rb"|\x1b\[\??[0-9;]*n"  # the state, the position of the cursor (DSR)
    rb"|\x1b\[\??[0-9;]*\$p"  # a mode (DECRQM)
    rb"|\x1b\[>[0-9]*q"  # the version (XTVERSION)
    rb"|\x1b\[\?u"  # the keyboard protocol of kitty
    rb"|\x1b\[(?:1[1-9]|2[01])[0-9;]*t"  # the window (XTWINOPS)
    rb"|\x1b\][0-9]+;[^\x07\x1b]*\?(?:\x07|\x1b\\)"  # colours, the clipboard (OSC)
    rb"|\x1bP[+$]q[^\x1b]*\x1b\\"  # a setting (DECRQSS, XTGETTCAP)
)

_INCOMPLETE = re.compile(rb"\x1b(?:\[[0-9;?>=$]{0,40}|\][^\x07\x1b]{0,400}\x1b?|P[^\x1b]{0,400}\x1b?)?\Z")


class QueryFilter:
    """Removes queries from old output: the programs that sent them would get the answers as input."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return output without queries. A sequence can continue in the next output."""
        data = self._rest + data
        incomplete = _INCOMPLETE.search(data)
        end = incomplete.start() if incomplete else len(data)
        self._rest = data[end:]
        return _QUERY.sub(b"", data[:end])

    def flush(self) -> bytes:
        """Return the beginning of a sequence that `feed` has not returned yet."""
        rest, self._rest = self._rest, b""
        return rest
