"""Tests of `jobworker run -it` and `attach` in a pseudoterminal, with the programs that people use there."""

import hashlib
import shutil
import signal
from collections.abc import Callable

import psutil
import pytest
from restarts import api_process, supervisor

from jobworker_command import BIN, Jobworker
from live import Server
from local_terminal import LocalTerminal, until_size

ROOMY = ("--max-cpu", "400", "--max-memory", "256")
PASTE = bytes(range(32, 127)).replace(b"~", b"") * ((1 << 20) // 94) + b"\r~~\r"
"""A paste of one MiB. The job gets the tilde after Enter once."""


def terminal(server: Server, *args: str) -> LocalTerminal:
    """Start `jobworker` in a terminal."""
    return LocalTerminal([BIN / "jobworker", *args], Jobworker(server).env)


def run(server: Server, *command: str) -> LocalTerminal:
    """Start `jobworker run -it` in a terminal."""
    return terminal(server, "run", "-it", *ROOMY, *command)


def bash(server: Server) -> LocalTerminal:
    """Start a shell in a terminal, and wait for its prompt."""
    local = run(server, "env", "PS1=ready> ", "bash", "--norc", "--noprofile")
    local.shows(b"ready> ")
    return local


def leave(shell: LocalTerminal) -> None:
    """End a shell that shows its prompt."""
    shell.type(b"exit 3\r")
    assert shell.ended() == 3


def test_the_exit_code_and_the_modes_that_the_job_changed(server: Server) -> None:
    script = r"stty size; printf '\033[?25l'; read word; echo got $word; exit 3"
    with run(server, "sh", "-c", script) as local:
        local.shows(b"30 100\r\n")
        local.type(b"word\r")
        local.shows(b"got word")
        local.shows(b"\x1b[?25h")
        assert local.ended() == 3


def test_a_shell_follows_the_window(server: Server) -> None:
    with bash(server) as local:
        local.resize(72, 19)
        local.type(f"{until_size(19, 72)}; echo $TERM; stty -a\r".encode())
        local.shows(b"xterm\r\n")
        modes = local.shows(b"ready> ")
        assert b"rows 19; columns 72;" in modes
        assert not {b"-isig", b"-icanon", b"-echo", b"-iutf8", b"-onlcr", b"-icrnl"} & set(modes.split())
        leave(local)


def test_control_characters_reach_the_foreground_job(server: Server) -> None:
    # Without a fork: dash waits in vfork(2) for a child that stops before its exec, and does not stop itself.
    loop = """sh -c 'trap "echo resumed" CONT; echo started; while :; do read -r line; done'"""
    with bash(server) as local:
        local.type(loop.encode() + b"\r")
        local.shows(b"started\r\n")
        local.type(b"\x1a")
        local.shows(b"Stopped")
        local.type(b"fg\r")
        local.shows(b"resumed\r\n")
        local.type(b"\x03")
        local.shows(b"^C")
        local.shows(b"ready> ")
        local.type(b"sh -c 'echo started; cat; echo code $?'\r")
        local.shows(b"started\r\n")
        local.type(b"partial\x04")
        local.shows(b"partialpartial")
        local.type(b"\x04")
        local.shows(b"code 0\r\n")
        local.shows(b"ready> ")
        leave(local)


def test_erase_removes_a_character_of_several_bytes(server: Server) -> None:
    with run(server, "sh", "-c", 'echo up; read -r word; echo "[$word]"') as local:
        local.shows(b"up")
        local.type("grünß\x7f, 日本語\x7f\r".encode())
        local.shows("[grün, 日本]".encode())
        assert local.ended() == 0


def test_a_paste_is_exact(server: Server) -> None:
    received = PASTE.replace(b"~~", b"~")
    script = f"stty raw -echo; echo up; head -c {len(received)} | sha256sum"
    with run(server, "sh", "-c", script) as local:
        local.shows(b"up")
        local.type(PASTE)
        local.shows(hashlib.sha256(received).hexdigest().encode())
        assert local.ended() == 0


def test_programs_that_people_use(server: Server) -> None:
    with bash(server) as local:
        local.type(b"python3 -q\r")
        local.shows(b">>> ")
        local.type("print('grün'.upper(), 6 * 7)\r".encode())
        local.shows("GRÜN 42\r\n>>> ".encode())
        local.type(b"\x04")
        local.shows(b"ready> ")
        local.type(b"seq 1 1000 | less\r")
        local.shows(b"29\r\n:")
        local.type(b"G")
        local.shows(b"1000")
        local.type(b"q")
        local.shows(b"ready> ")
        leave(local)


@pytest.mark.skipif(not shutil.which("vim"), reason="vim is not installed")
def test_detaching_from_vim_resets_the_terminal(server: Server) -> None:
    with run(server, "vim", "-u", "NONE", "-N", "/etc/passwd") as local:
        local.shows(b"\x1b[?1049h")
        local.shows(b"root:x:0:0")
        local.type(b"\x1b:set nomore\r~.")
        local.shows(b"\x1b[?1049l")
        local.shows(b"detached from job ")
        job_id = local.shows(b";").decode()
        assert local.ended() == 0
    with terminal(server, "attach", job_id) as again:
        again.shows(b"root:x:0:0")
        again.type(b":q!\r")
        assert again.ended() == 0


@pytest.mark.parametrize("script", ["sleep 1; echo end", "exec <&-; echo closed; sleep 1; echo end"])
def test_a_job_that_does_not_read(server: Server, script: str) -> None:
    with run(server, "sh", "-c", f"echo up; {script}") as local:
        local.shows(b"up")
        local.type(b"typed and not read\r")
        local.shows(b"end")
        assert local.ended() == 0


def test_two_clients_type_and_a_third_one_watches(server: Server) -> None:
    with bash(server) as first:
        first.type(b"\r~.")
        first.shows(b"detached from job ")
        job_id = first.shows(b";").decode()
        assert first.ended() == 0
    jobworker = Jobworker(server)
    with (
        terminal(server, "attach", job_id) as first,
        terminal(server, "attach", "--tail", "1", job_id) as second,
        terminal(server, "stream", "--offset", "0", job_id) as watcher,
    ):
        for local in (first, second, watcher):
            local.shows(b"ready> ")
        watcher.resize(60, 10)
        second.resize(90, 40)
        first.type(f"{until_size(30, 90)} && echo $((40 + 2))\r".encode())
        second.shows(b"42\r\n")
        second.shows(b"ready> ")
        second.type(b"echo $((50 + 3))\r")
        for local in (first, watcher):
            local.shows(b"53\r")
            local.shows(b"ready> ")
        second.process.terminate()
        assert second.ended() == 128 + signal.SIGTERM
        first.type(f"{until_size(30, 100)} && echo $((60 + 4))\r".encode())
        first.shows(b"64\r\n")
        first.shows(b"ready> ")
        leave(first)
        assert watcher.process.wait(30) == 3
    assert jobworker.job(job_id)["exitCode"] == 3


def test_sigterm_stops_the_job_and_restores_the_terminal(server: Server) -> None:
    # Interactive shells ignore SIGTERM, too, but bash loses a SIGHUP that arrives just before its read.
    with run(server, "sh", "-c", "trap '' TERM; echo up; exec sleep 600") as local:
        local.shows(b"up")
        local.process.terminate()
        local.shows(b"stopped by")
        assert local.ended() == 128 + signal.SIGHUP


@pytest.mark.parametrize("victim", [api_process, supervisor])
def test_typing_survives_a_killed_process(
    own_server: Server, victim: Callable[[Server], psutil.Process]
) -> None:
    script = "stty -echo; echo up; while read -r line; do echo got $line; done; echo end"
    with run(own_server, "sh", "-c", script) as local:
        local.shows(b"up")
        for number in range(40):
            if number == 15:
                victim(own_server).kill()
            local.type(b"%d\r" % number)
        for number in range(40):
            assert b"got" not in local.shows(b"got %d\r\n" % number)
        local.type(b"\x04")
        local.shows(b"end")
        assert local.ended() == 0
