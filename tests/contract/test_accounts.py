"""Check the job's user as programs in the job see it."""

from pathlib import Path

import pytest
from applied import part_name
from wrapped import BIN, own_mounts, with_line, wrapped

from live import Server
from live_client import Client, client

pytestmark = pytest.mark.root

LOOKS_ITSELF_UP = """
import getpass, grp, os, pwd
user = pwd.getpwuid(os.getuid())
print(user.pw_name, user.pw_dir, user.pw_shell, grp.getgrgid(os.getgid()).gr_name)
print(pwd.getpwnam(user.pw_name).pw_uid == os.getuid(), pwd.getpwnam("root").pw_uid)
for variable in ("HOME", "USER", "LOGNAME"):
    os.environ.pop(variable, None)
print(getpass.getuser(), os.path.expanduser("~"))
"""


def content(path: str) -> bytes:
    return Path(path).read_bytes()


SETTINGS = {
    "dynamic": "1900000000",
    "uids of several lengths": "99990",
}


@pytest.mark.parametrize("first_uid", SETTINGS.values(), ids=SETTINGS.keys())
async def test_the_job_user_has_a_name_a_home_and_a_shell(
    certs: Path, tmp_path: Path, first_uid: str
) -> None:
    settings = {"JOBWORKERD_ISOLATION_FIRST_UID": first_uid, "JOBWORKERD_ISOLATION_UID_COUNT": "1000"}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            _, output = await admin.run("python3", "-c", LOOKS_ITSELF_UP)
            _, first = await admin.run("head", "-n2", "/etc/passwd")
    assert output.decode().splitlines() == ["job /home/job /bin/sh job", "True 0", "job /home/job"]
    assert first.startswith(b"job:x:%d" % (int(first_uid) // 10))


async def test_programs_find_their_user(admin: Client) -> None:
    script = "whoami; id -gn; ssh-keygen -q -t ed25519 -N '' -f key && cut -d' ' -f3 key.pub"
    _, output = await admin.run("sh", "-c", script)
    name, group, comment = output.decode().split()
    assert (name, group, comment.partition("@")[0]) == ("job", "job", "job")


async def test_account_files_are_private_and_read_only(admin: Client) -> None:
    script = "echo x >>/etc/passwd; rm -f /etc/passwd; mv /etc/group /etc/group2; cat /etc/passwd"
    _, output = await admin.run("sh", "-c", script)
    _, mounts = await admin.run("grep", "-E", " /etc/(passwd|group) ", "/proc/self/mountinfo")
    assert [line.split()[5].split(b",")[0] for line in mounts.splitlines()] == [b"ro", b"ro"]
    assert output.count(b"job:x:") == 1
    host = content("/etc/passwd")
    assert output.endswith(host)
    assert b"job:x:19" not in host


async def test_the_next_job_knows_a_new_user_of_the_host(certs: Path, tmp_path: Path) -> None:
    files = wrapped(tmp_path, with_line(tmp_path, "/etc/passwd", "before:x:54320:54320::/:/bin/sh"))
    with Server.started(files, certs, tmp_path / "state") as server:
        with (tmp_path / "passwd").open("a") as file:
            file.write("later:x:54321:54321::/:/bin/sh\n")
        async with client(server, "admin") as admin:
            _, output = await admin.run("id", "-u", "later")
    assert output == b"54321\n"


async def test_a_configured_user_keeps_its_name_and_its_login_groups(certs: Path, tmp_path: Path) -> None:
    bin_dir = wrapped(tmp_path, with_line(tmp_path, "/etc/group", "jobworker-data:x:54321:nobody"))
    with Server.started(bin_dir, certs, tmp_path / "state", JOBWORKERD_ISOLATION_RUN_AS="nobody") as server:
        async with client(server, "admin") as admin:
            _, groups = await admin.run("id", "-G")
            _, names = await admin.run("python3", "-c", LOOKS_ITSELF_UP)
    assert groups.split()[1:] == [b"54321"]
    name, home, *_ = names.decode().split()
    assert (name, home) == ("nobody", "/home/job")


async def test_without_a_mount_namespace_the_record_reports_the_missing_account(
    certs: Path, tmp_path: Path
) -> None:
    settings = {"JOBWORKERD_ISOLATION_MOUNT_NAMESPACE": "false"}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            job, output = await admin.run("id", "-un")
    (part,) = (each for each in job.applied_isolation if part_name(each) == "user")
    assert part.in_force
    assert part.value.endswith(", without an entry in /etc/passwd: an entry requires a mount namespace")
    assert b"cannot find name" in output


async def test_a_host_without_account_files_is_reported_in_the_record(certs: Path, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    without = f"os.system('cp -a /etc {etc} && rm {etc}/group && mount --bind {etc} /etc')"
    with Server.started(wrapped(tmp_path, own_mounts() + without), certs, tmp_path / "state") as server:
        async with client(server, "admin") as admin:
            job, output = await admin.run("cat", "/etc/passwd")
    (part,) = (each for each in job.applied_isolation if part_name(each) == "user")
    assert part.value.endswith(", without an entry in /etc/passwd: No such file or directory")
    assert b"job:x:" not in output
    assert all(each.in_force for each in job.applied_isolation)
