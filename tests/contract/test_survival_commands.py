"""Check with the commands of a user that jobs survive the supervisor and are lost with the keeper."""

from restarts import keeper

from jobworker_command import Jobworker
from live import Server, still_alive

THREE_KILLS = """
id=$(jobworker create -q sh -c 'for i in $(seq 1 600); do echo $i; sleep 0.05; done; exit 7')
jobworker stream $id >"$OUTPUT" & follower=$!
for i in 1 2 3; do
  sleep 3
  kill -9 $(pgrep -P $KEEPER -f jobworkerd.supervisor) || echo "no supervisor"
done
jobworker wait $id >/dev/null; echo "wait: $?"
wait $follower; echo "stream: $?"
"""


def shell(server: Server, text: str, **variables: object) -> str:
    """Run a command line with variables of the shell, and return its output."""
    assignments = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    return Jobworker(server).line(assignments + text).stdout.decode()


def test_a_follower_prints_each_line_once_while_the_supervisor_is_killed(own_server: Server) -> None:
    assert own_server.state
    output = own_server.state / "output"
    printed = shell(own_server, THREE_KILLS, OUTPUT=output, KEEPER=keeper(own_server).pid)
    assert printed.splitlines() == ["wait: 7", "stream: 7"]
    assert output.read_text().split() == [str(number) for number in range(1, 601)]


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
    assert still_alive(family) == []
    inits = shell(
        own_server, 'pgrep -f "sleep infinity"'
    ).split()  # other servers on this host have inits too
    assert not {each.pid for each in family} & set(map(int, inits))
    assert shell(own_server, "ls -d $BASE/jobs/*/", BASE=own_server.cgroup_base or "/nowhere") == ""
