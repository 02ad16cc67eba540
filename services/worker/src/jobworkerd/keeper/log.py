"""The log of the keeper: few events, in the format of the supervisor's log. A write never blocks."""

import json
import select
import sys
import time


class KeeperLog:
    """Writes events to stderr. An event is dropped if the reader of stderr is too slow."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def write(self, level: str, event: str, **fields: object) -> None:
        """Report an event."""
        now = time.time()
        timestamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"
        if self._as_json:
            head = {"timestamp": timestamp, "level": level, "event": event, "process": "keeper"}
            line = json.dumps(head | fields)
        else:
            pairs = " ".join(f"{name}={value!r}" for name, value in fields.items())
            line = f"{timestamp} [{level:<7}] {event:<24} {pairs}"
        try:
            if select.select([], [2], [], 0)[1]:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
        except OSError:
            return
