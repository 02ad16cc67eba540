"""The user that a job runs as, as the programs in it see it."""

from pathlib import Path

from wrapped import with_line, wrapped

from live import Server, client


async def test_a_user_by_name_has_the_groups_of_a_login(certs: Path, tmp_path: Path) -> None:
    bin_dir = wrapped(tmp_path, with_line(tmp_path, "/etc/group", "jobworker-data:x:54321:nobody"))
    with Server.started(bin_dir, certs, tmp_path / "state", JOBWORKERD_ISOLATION_RUN_AS="nobody") as server:
        async with client(server, "admin") as admin:
            _, output = await admin.run("id", "-G")
    assert output.split()[1:] == [b"54321"]
