"""The wall clock, for records."""

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp() -> Timestamp:
    """Return the current time."""
    now = Timestamp()
    now.GetCurrentTime()
    return now
