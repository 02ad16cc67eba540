"""A job's own /dev in containers that refuse a part of it. Each test runs in its own mount namespace."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.root

SCRIPT = """
import errno, os, stat
from jobworkerd.spawn import mounting, private_devices

mounting.mount(None, b"/", None, mounting.REC | mounting.PRIVATE_PROPAGATION)
mknod, mount = os.mknod, mounting.mount
{fault}
private_devices.make((b"/dev/kmsg", b"/dev/none/such"))
assert open("/dev/zero", "rb").read(2) == bytes(2)
for name in ("null", "zero", "full", "random", "urandom", "tty"):
    mode = os.stat("/dev/" + name).st_mode
    assert stat.S_ISCHR(mode) and mode & 0o666 == 0o666, name
assert not os.path.exists("/dev/none")
os.close(os.openpty()[0])
print(sorted(os.listdir("/dev")))
"""

FAULTS = {
    "none": "",
    "mknod": """
def refuse(path, mode, device=0):
    if stat.S_ISCHR(mode):
        raise PermissionError(errno.EPERM, "refused")
    mknod(path, mode, device)
os.mknod = refuse
""",
    "group": """
def refuse(source, target, kind, flags, data=None):
    if data and b"gid=5" in data:
        raise OSError(errno.EINVAL, "refused")
    mount(source, target, kind, flags, data)
mounting.mount = refuse
""",
}

PRESENT = ["fd", "full", "kmsg", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_devices_exist_in_spite_of_a_refusal(fault: str) -> None:
    script = SCRIPT.format(fault=FAULTS[fault])
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == f"{[*PRESENT, 'urandom', 'zero']}\n"
