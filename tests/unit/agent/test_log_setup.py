"""The log of the agent while its reader is stopped."""

import logging
import queue

from jobworker_agent.log_setup import DroppingHandler


def test_lines_that_have_no_room_are_counted() -> None:
    lines: queue.Queue[logging.LogRecord] = queue.Queue(2)
    handler = DroppingHandler(lines)
    for number in range(5):
        handler.handle(logging.makeLogRecord({"msg": f"line {number}"}))
    assert [lines.get_nowait().msg for _ in range(2)] == ["line 0", "line 1"]
    handler.handle(logging.makeLogRecord({"msg": "line 5"}))
    assert [lines.get_nowait().msg for _ in range(2)] == ["log lines dropped: 3", "line 5"]
