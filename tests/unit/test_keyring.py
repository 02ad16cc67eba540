"""Processes leave the session keyring that they inherited."""

import subprocess
import sys

import pytest

from jobworkerd import keyring

LEAVES_A_KEY_BEHIND = """
import ctypes, os, sys
from jobworkerd import keyring
from jobworkerd.api import privileges
libc = ctypes.CDLL(None)
add_key, keyctl = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
SESSION, SEARCH = ctypes.c_long(-3), 10

def has_key():
    return libc.syscall(keyctl, SEARCH, SESSION, b"user", b"inherited", 0) > 0

keyring.join_new_session()
libc.syscall(add_key, b"user", b"inherited", b"payload", 7, SESSION)
before = has_key()
if os.fork() == 0:
    {leave}
    print(before, has_key())
else:
    os.wait()
"""


@pytest.mark.parametrize("leave", ["keyring.join_new_session()", "privileges.drop(None, None, ())"])
def test_an_inherited_key_is_inaccessible(leave: str) -> None:
    script = LEAVES_A_KEY_BEHIND.format(leave=leave)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_kernel_without_keyrings_has_nothing_to_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_KEYCTL", dict.fromkeys(keyring._KEYCTL, 100_000))  # ENOSYS
    keyring.join_new_session()


def test_a_machine_with_unknown_system_call_numbers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_KEYCTL", {})
    with pytest.raises(OSError, match="not supported"):
        keyring.join_new_session()
