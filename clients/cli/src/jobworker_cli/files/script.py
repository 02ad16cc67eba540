"""The script that copies the files in the job, and the marks that it writes to stdout.

It needs sh, tar, dd, tee and sha256sum, of GNU, BusyBox or similar.
"""

import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from jobworker_cli.files.paths import Download, Upload

__all__ = ["BLOCK_BYTES", "VARIABLE", "Mark", "MarkSplitter", "new_token", "script"]

VARIABLE = "JOBWORKER_FILES"
"""The environment variable with the script. The job removes it. Records do not contain the environment."""

BLOCK_BYTES = 65_536
"""Archives are padded to multiples of this size, so that dd(1) reads exactly one archive from stdin."""

MAX_MARK_BYTES = 512

# The umask must not change modes, and the tar of BusyBox ignores -p. A tar may end before it has read the
# padding, so cat reads the rest. The checksum covers the archive and the mark `packed`.
FUNCTIONS = """\
unset JOBWORKER_FILES TAR_OPTIONS
mark() {{ printf '%s %s\\n' {token} "$*"; }}
upload() {{
  mkdir -p -- "$1" && dd bs={block} count="$2" iflag=fullblock 2>/dev/null |
    (umask 0 && tar -xof - -C "$1" && cat >/dev/null) || exit 125
}}
pack() {{
  if [ -d "$1" ]; then tar -cf - -C "$1" .
  else tar -chf - -C "$(dirname -- "$1")" "./$(basename -- "$1")"
  fi
}}
download() {{
  if [ -d "$2" ]; then mark begin "$1" directory
  elif [ -e "$2" ]; then mark begin "$1" file
  else mark missing "$1"; return
  fi
  exec 4>&1
  sum=$({{ {{ pack "$2"; mark packed $?; }} | tee /dev/fd/3 >&4; }} 3>&1 | sha256sum)
  mark end "$sum"
}}
"""

# Signals go to all processes of the job. The command decides what it does, and the shell continues after it.
# `exec` runs programs only, and not a function or a builtin with the same name.
WITH_DOWNLOADS = """\
trap : HUP INT QUIT USR1 USR2 TERM
(exec "$@")
code=$?
{downloads}exit "$code"
"""


def new_token() -> str:
    """Return a word that output does not contain by accident."""
    return f"jobworker-files-{secrets.token_hex(16)}"


def script(token: str, uploads: Sequence[tuple[Upload, int]], downloads: Sequence[Download]) -> str:
    """Return the script; its arguments are the command. An upload has a number of blocks."""
    lines = [FUNCTIONS.format(token=token, block=BLOCK_BYTES)]
    lines += [f"upload {shlex.quote(upload.directory)} {blocks}\n" for upload, blocks in uploads]
    lines.append("mark started\n")
    if downloads:
        calls = "".join(
            f"download {number} {shlex.quote(each.path)}\n" for number, each in enumerate(downloads)
        )
        lines.append(WITH_DOWNLOADS.format(downloads=calls))
    else:
        lines.append('exec "$@"\n')
    return "".join(lines)


@dataclass(frozen=True)
class Mark:
    """A line of the script: its words, and its bytes."""

    words: tuple[str, ...]
    line: bytes


class MarkSplitter:
    """Splits stdout, in pieces of any size, into marks and other bytes."""

    def __init__(self, token: str) -> None:
        self._token = f"{token} ".encode()
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes | Mark]:
        """Return the complete marks and the other bytes. The possible beginning of a mark waits for more."""
        found: list[bytes | Mark] = []
        data = self._rest + data
        while (begin := data.find(self._token)) >= 0:
            end = data.find(b"\n", begin, begin + MAX_MARK_BYTES) + 1
            if not end:
                break
            found += [data[:begin], self._mark(data[begin:end])]
            data = data[end:]
        begin = _begin_of(self._token, data) if begin < 0 else begin
        if len(data) - begin >= MAX_MARK_BYTES:  # the job has written the token itself
            begin = len(data)
        self._rest = data[begin:]
        return [part for part in (*found, data[:begin]) if part]

    def rest(self) -> bytes:
        """Return the bytes that wait, at the end of the output."""
        return self._rest

    def _mark(self, line: bytes) -> Mark:
        return Mark(tuple(line[len(self._token) :].decode(errors="replace").split()), line)


def _begin_of(token: bytes, data: bytes) -> int:
    """Return where the longest end of the data begins that is a beginning of the token."""
    for begin in range(max(0, len(data) - len(token) + 1), len(data)):
        if token.startswith(data[begin:]):
            return begin
    return len(data)
