"""Names and numbers of signals in user input."""

import signal

import pytest

from jobworkerd.signals import signal_name, signal_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("int", 2),
        ("9", 9),
        ("64", 64),
        ("SIGRTMIN", 34),
        ("RTMIN+3", 37),
        ("sigrtmax", 64),
    ],
)
def test_names_and_numbers(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "32",
        "65",
        "999",
        "NOPE",
        "SIG",
        "SIGSIGTERM",
        "SIG_IGN",
        "RTMIN+31",
        "\u0661\u0665",
        "15\n",
    ],
)
def test_unknown_signals_are_errors(text: str) -> None:
    with pytest.raises(ValueError, match="no signal"):
        signal_number(text)


@pytest.mark.parametrize("number", sorted(signal.valid_signals()))
def test_every_displayed_name_is_accepted(number: int) -> None:
    assert signal_number(signal_name(number)) == number


def test_signal_0_has_no_name() -> None:
    assert not signal_name(0)


@pytest.mark.parametrize("number", [32, 33])
def test_a_signal_without_a_name_is_displayed(number: int) -> None:
    assert signal_name(number) == f"SIG{number}"
