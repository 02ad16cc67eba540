"""Streams send immediately on a quiet server and take turns on a busy one."""

import heapq

from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter


async def test_a_quiet_stream_never_waits() -> None:
    limiter = RateLimiter()
    assert all(limiter.reserve(now / 1_000) == now / 1_000 for now in range(100, 1_000))


async def test_100_followers_of_occasional_lines_do_not_wait() -> None:
    limiter = RateLimiter()
    for now in (1.0, 1.1, 1.2):
        assert [limiter.reserve(now) for _ in range(100)] == [now] * 100


def intervals(streams: int, seconds: float = 2.0) -> list[float]:
    """Return the steady intervals between the turns of streams that always have more to send."""
    limiter, found = RateLimiter(), []
    queue = [(0.0, number) for number in range(streams)]
    while queue[0][0] < seconds:
        now, number = heapq.heappop(queue)
        due = limiter.reserve(now)
        heapq.heappush(queue, (due if due > now else now + 0.001, number))
        if now > seconds / 2:
            found.append(due - now)
    return found


async def test_busy_streams_get_a_turn_every_few_milliseconds() -> None:
    assert max(intervals(50)) <= 0.012
    assert max(intervals(200)) <= 0.018


async def test_the_total_rate_of_messages_is_bounded() -> None:
    assert len(intervals(50)) < 7_500
    assert len(intervals(200)) < 14_500
    assert len(intervals(1_000)) < 14_500


async def test_streams_get_turns_at_the_same_time_to_share_messages() -> None:
    limiter = RateLimiter()
    times = [limiter.reserve(1.0) for _ in range(400)]
    assert len(set(times)) < 20
    assert times == sorted(times)
