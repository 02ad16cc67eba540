"""Check that the fault test counts the mounts of its own server, and no others."""

from pathlib import Path

from tests.soak.faults.parts import own_mounts

STATE = Path("/tmp/run1/server/state")
LINE = "{number} 1 {device} / {point} rw,relatime - tmpfs soak rw\n"


def mounted(*mounts: tuple[str, str]) -> list[str]:
    lines = (
        LINE.format(number=number, device=device, point=point)
        for number, (device, point) in enumerate([("8:1", "/"), ("0:70", str(STATE)), *mounts], 30)
    )
    return own_mounts("".join(lines), STATE.parent)


def test_the_mounts_of_others_do_not_count() -> None:
    assert mounted(("0:71", "/tmp/run2/server/state"), ("0:72", "/mnt"), ("8:1", "/srv")) == [str(STATE)]


def test_a_mount_below_the_state_directory_counts() -> None:
    assert mounted(("0:72", f"{STATE}/jobs/a")) == [str(STATE), f"{STATE}/jobs/a"]


def test_a_copy_of_the_state_directory_elsewhere_counts() -> None:
    assert mounted(("0:70", "/opt/copy")) == [str(STATE), "/opt/copy"]


def test_the_home_of_a_job_counts() -> None:
    assert mounted(("0:72", "/home/job")) == [str(STATE), "/home/job"]
