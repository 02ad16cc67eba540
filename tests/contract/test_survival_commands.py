"""Check with the commands of a user what a killed server leaves."""

import psutil
from restarts import keeper

from jobworker_command import Jobworker
from live import Server


def shell(server: Server, text: str, **variables: object) -> str:
    """Run a command line with variables of the shell, and return its output."""
    assignments = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    return Jobworker(server).line(assignments + text).stdout.decode()


def test_a_job_is_lost_with_the_keeper_and_leaves_nothing(own_server: Server) -> None:
    job_id = shell(own_server, "jobworker create -q sleep 1000").strip()
    family = own_server.descendants()
    shell(own_server, "kill -9 $KEEPER", KEEPER=keeper(own_server).pid)
    assert own_server.process
    own_server.process.wait()
    own_server.launch()
    shown = shell(own_server, "jobworker get $ID", ID=job_id)
    assert "LOST" in shown
    assert "was killed while the job ran" in shown
    assert psutil.wait_procs(family, timeout=10)[1] == []
    inits = shell(
        own_server, 'pgrep -f "sleep infinity"'
    ).split()  # other servers on this host have inits too
    assert not {each.pid for each in family} & set(map(int, inits))
    assert shell(own_server, "ls -d $BASE/jobs/*/", BASE=own_server.cgroup_base or "/nowhere") == ""
