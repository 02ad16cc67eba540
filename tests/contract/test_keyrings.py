"""Check kernel keyrings: a job cannot read the keys of the server or of another job."""

from pathlib import Path

import pytest
from wrapped import wrapped

from live import Server
from live_client import client

KEYS_ALLOWED = {"JOBWORKERD_ISOLATION_SECCOMP_ALLOW": "add_key,keyctl"}
"""The filter refuses keyrings to jobs; this isolation is for jobs that need them."""

# Without root, all jobs run as the server's user and share its keyrings.
pytestmark = pytest.mark.root

KEYRINGS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
add_key, keyctl = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
JOIN, LINK, SEARCH, READ, GET_PERSISTENT = 1, 8, 10, 11, 22
KEYRINGS = {"session": -3, "user": -4, "user session": -5}

def add(keyring, name):
    key = libc.syscall(add_key, b"user", name.encode(), b"payload", 7, ctypes.c_long(keyring))
    assert key > 0

def persistent():
    return libc.syscall(keyctl, GET_PERSISTENT, ctypes.c_long(-1), ctypes.c_long(-2))

def found(keyring, name):
    if keyring != -3:  # only what the session keyring leads to counts as this process's
        libc.syscall(keyctl, LINK, ctypes.c_long(keyring), ctypes.c_long(-3))
    key = libc.syscall(keyctl, SEARCH, ctypes.c_long(keyring), b"user", name.encode(), 0)
    payload = ctypes.create_string_buffer(99)
    return key > 0 and libc.syscall(keyctl, READ, ctypes.c_long(key), payload, 99) == 7
"""

LEAVES_KEYS = f"""{KEYRINGS}
for keyring in (*KEYRINGS.values(), persistent()):
    add(keyring, "of a job")
    assert found(keyring, "of a job")
print("added", flush=True)
"""

LOOKS = f"""{KEYRINGS}
for name in ("of a job", "of the server"):
    for keyring in (*KEYRINGS.values(), persistent()):
        print(name, found(keyring, name))
"""

SERVERS_OWN = f"""{KEYRINGS}
libc.syscall(keyctl, JOIN, 0)
add(-3, "of the server")
"""


async def test_a_job_finds_only_its_own_keys(certs: Path, tmp_path: Path) -> None:
    bin_dir = wrapped(tmp_path, SERVERS_OWN)
    with Server.started(bin_dir, certs, tmp_path / "state", **KEYS_ALLOWED) as server:
        async with client(server, "admin") as admin:
            one = await admin.create("python3", "-c", f"{LEAVES_KEYS}\nimport time; time.sleep(1000)")
            await admin.wrote(one.id, b"added\n")
            _, output = await admin.run("python3", "-c", LOOKS)
            await admin.stop(one.id, seconds=0)
    assert output.splitlines() == [b"of a job False"] * 4 + [b"of the server False"] * 4


async def test_a_reused_uid_has_no_keys_of_the_earlier_job(certs: Path, tmp_path: Path) -> None:
    settings = {"JOBWORKERD_MAX_JOBS": "1", "JOBWORKERD_ISOLATION_UID_COUNT": "1"} | KEYS_ALLOWED
    with Server.started(wrapped(tmp_path, ""), certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            _, added = await admin.run("python3", "-c", f"{LEAVES_KEYS}\nprint(os.getuid())")
            _, output = await admin.run("python3", "-c", f"{LOOKS}\nprint(os.getuid())")
    assert added.splitlines()[0] == b"added"
    assert output.splitlines() == [b"of a job False"] * 4 + [b"of the server False"] * 4 + [added.split()[-1]]
