"""Tests of `jobworker run -it` and `attach` in real terminals, those of tmux(1)."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobworker_command import Jobworker
from live import Server
from local_terminal import until_size

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")

WITHIN_SECONDS = 30
RUN = "jobworker run -it --max-cpu 400 --max-memory 256"


class Window:
    """A window of tmux with a shell, in which the tests type commands."""

    def __init__(self, tmux: "Tmux", name: str, columns: int, rows: int) -> None:
        self._tmux, self._name = tmux, name
        size = ("-x", str(columns), "-y", str(rows))
        self.shell = int(
            tmux(
                "new-session", "-dP", "-F", "#{pane_pid}", "-s", name, *size, "env PS1='local$ ' bash --norc"
            )
        )
        tmux("set-option", "-t", name, "status", "off")
        self.shell = int(self.mode("pane_pid"))
        self.shows("local$")

    def type(self, *keys: str) -> None:
        """Type texts and keys with the names of tmux."""
        self._tmux("send-keys", "-t", self._name, *keys)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self._tmux("resize-window", "-t", self._name, "-x", str(columns), "-y", str(rows))

    @property
    def screen(self) -> str:
        """The visible text."""
        return self._tmux("capture-pane", "-p", "-J", "-t", self._name)

    def mode(self, name: str) -> str:
        """Return a format of tmux, such as `alternate_on`."""
        return self._tmux("display-message", "-p", "-t", self._name, f"#{{{name}}}").strip()

    def shows(self, text: str) -> str:
        """Wait until the screen contains a text, and return the text after it."""
        deadline = time.monotonic() + WITHIN_SECONDS
        while text not in (screen := self.screen):
            assert time.monotonic() < deadline, f"no {text!r} in {screen}"
            time.sleep(0.05)
        return screen.rpartition(text)[2]

    def is_sane(self) -> None:
        """Check that the terminal has the modes in `before`, and after a moment the size."""
        self.type("clear; until stty -a | cmp - before; do sleep 0.1; done; echo equal $((40 + 2))", "Enter")
        self.shows("equal 42")


class Tmux:
    """A tmux server whose windows have the environment of `jobworker`."""

    def __init__(self, env: dict[str, str], directory: Path) -> None:
        self._env = {**env, "TMUX_TMPDIR": str(directory)}
        self._directory = directory

    def __call__(self, *args: str) -> str:
        """Run a command of tmux and return its output."""
        argv = ["tmux", "-f", "/dev/null", "-L", "tests", *args]
        done = subprocess.run(
            argv, env=self._env, cwd=self._directory, capture_output=True, text=True, check=True
        )
        return done.stdout


@pytest.fixture
def tmux(server: Server, tmp_path: Path) -> Iterator[Tmux]:
    """Yield a tmux server that ends with the test."""
    tmux = Tmux(Jobworker(server).env, tmp_path)
    yield tmux
    tmux("kill-server")


def test_two_real_terminals(tmux: Tmux) -> None:
    first = Window(tmux, "first", 100, 30)
    first.type(f"stty -a >before; {RUN} env PS1='job> ' bash --norc", "Enter")
    first.shows("job>")
    first.type("stty size", "Enter")
    first.shows("30 100")
    first.resize(90, 24)
    first.type(f"clear; {until_size(24, 90)}; echo $((40 + 2))", "Enter")
    first.shows("42")

    first.type("Enter", "~", "?")
    lines = first.shows("jobworker: escape sequences, after Enter:\n").splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["~.", "~^Z", "~?", "~~"]
    assert all(line.startswith("  ~") for line in lines[:4])

    first.type("Enter", "~", "C-z")
    first.shows("Stopped")
    first.resize(100, 30)
    first.is_sane()
    first.type("clear; fg", "Enter")
    first.shows("job>")

    first.type("Enter", "~", ".")
    job_id = first.shows("detached from job ").partition(";")[0]
    first.is_sane()

    second = Window(tmux, "second", 120, 40)
    for window in (first, second):
        window.type(f"clear; jobworker attach {job_id}", "Enter")
        window.shows("job>")
    first.type("echo typed first $((1 + 1))", "Enter")
    second.shows("typed first 2")
    second.type("echo typed second $((2 + 2))", "Enter")
    first.shows("typed second 4")

    [client] = psutil.Process(first.shell).children()
    client.send_signal(signal.SIGTERM)
    first.shows("the job continues")
    first.is_sane()

    second.type("exit 3", "Enter")
    second.shows("local$")
    second.type("echo code $?", "Enter")
    second.shows("code 3")


@pytest.mark.skipif(not shutil.which("vim"), reason="vim is not installed")
def test_a_full_screen_program(tmux: Tmux) -> None:
    window = Window(tmux, "first", 100, 30)
    window.type("stty -a >before", "Enter")
    vim = 'seq 101 199 >/tmp/numbers; exec vim -u NONE -N -c "set mouse=a nu" /tmp/numbers'
    window.type(f"{RUN} sh -c '{vim}'", "Enter")
    window.shows("1 101\n")
    assert (window.mode("alternate_on"), window.mode("mouse_any_flag")) == ("1", "1")
    # The keys have no effect on vim later: it loses a SIGWINCH that arrives while it reads keys.
    window.type("Escape", ":echo 40+2", "Enter")
    window.shows("\n42")
    window.type("~", "C-z")
    window.shows("Stopped")
    assert (window.mode("alternate_on"), window.mode("mouse_any_flag")) == ("0", "0")
    window.is_sane()

    window.type("clear; fg", "Enter")
    window.shows("1 101\n")
    assert (window.mode("alternate_on"), window.mode("mouse_any_flag")) == ("1", "1")
    window.resize(60, 12)
    window.type("G")
    window.shows("99 199\n")
    window.type("Escape", ":", "Enter", "~", ".")
    job_id = window.shows("detached from job ").partition(";")[0]
    assert (window.mode("alternate_on"), window.mode("mouse_any_flag")) == ("0", "0")
    # Without `clear`, the normal screen would have an old prompt when vim leaves its own.
    window.type(f"clear; jobworker attach {job_id}", "Enter")
    window.shows("99 199\n")
    assert (window.mode("alternate_on"), window.mode("mouse_any_flag")) == ("1", "1")
    window.type(":q!", "Enter")
    window.shows("local$")
    window.resize(100, 30)
    window.is_sane()


def test_a_program_that_draws_only_at_a_new_size(tmux: Tmux) -> None:
    """For example, programs with curses. The window is empty after `fg`, but has its old size."""
    window = Window(tmux, "first", 100, 30)
    draw = 'new=$(stty size); [ "$new" = "$old" ] || printf "\\033[2J\\033[Hdrawn $((40 + 2))\\n"; old=$new'
    loop = 'trap draw WINCH; printf "\\033[?1049h"; draw; while :; do sleep 0.05; done'
    window.type(f"clear; {RUN} bash -c 'draw() {{ {draw}; }}; {loop}'", "Enter")
    window.shows("drawn 42")
    window.type("Enter", "~", "C-z")
    window.shows("Stopped")
    window.type("clear; fg", "Enter")
    window.shows("drawn 42")
    window.type("C-c")
    window.shows("local$")
