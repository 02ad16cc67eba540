"""The changes of the size of a terminal."""

import random

from jobworkerd.terminal import MAX_RESIZES, Resizes, Terminal, TerminalResize, add_resize, resizes_from


def test_a_change_at_the_same_offset_replaces_the_earlier_one() -> None:
    resizes = add_resize((), TerminalResize(90, 40, 7))
    resizes = add_resize(resizes, TerminalResize(91, 40, 7))
    assert add_resize(resizes, TerminalResize(80, 24, 9)) == (
        TerminalResize(91, 40, 7),
        TerminalResize(80, 24, 9),
    )


def test_beyond_the_bound_the_shortest_sizes_are_dropped() -> None:
    chance, offset, resizes = random.Random(1), 0, Resizes()
    for columns in range(1, 1_001):
        is_long = columns % 20 == 0
        resize = TerminalResize(columns, 24, offset)
        resizes = add_resize(resizes, resize)
        offset += 10_000 if is_long else chance.randint(1, 100)
        assert resizes[-1] == resize
    assert len(resizes) == MAX_RESIZES
    assert {each.columns for each in resizes} >= set(range(20, 1_001, 20))
    assert sorted(resizes, key=lambda each: each.log_offset) == [*resizes]


def test_the_sizes_from_an_offset_begin_with_the_one_that_holds() -> None:
    first, second, third = TerminalResize(80, 24, 0), TerminalResize(90, 24, 5), TerminalResize(70, 24, 9)
    resizes = (second, third)
    for offset, sizes in {
        0: [first, second, third],
        4: [first, second, third],
        5: [second, third],
        8: [second, third],
        9: [third],
        99: [third],
    }.items():
        assert [*resizes_from(Terminal(80, 24), resizes, offset)] == sizes
    assert [*resizes_from(Terminal(80, 24), (TerminalResize(90, 24, 0),), 0)] == [TerminalResize(90, 24, 0)]
