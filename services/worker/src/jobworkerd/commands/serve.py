"""`jobworkerd serve`: reads the settings and becomes the keeper, or at a reload a supervisor.

The next program replaces this process with execve(2), so that it carries none of the modules imported here.
It receives the settings in a memfd, because every user of the host can read arguments.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path

from jobworkerd.config import Config, from_json, to_json
from jobworkerd.keeper import memory_file
from jobworkerd.keeper.inheritance import set_inheritable
from jobworkerd.keeper.reload import SETTINGS_VARIABLE, SOCKET_VARIABLE
from jobworkerd.settings.options import FLAGS, with_settings
from jobworkerd.settings.resolve import Settings, SettingsError


@with_settings(*FLAGS)
def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT.

    Flags take precedence over environment variables (JOBWORKERD_LISTEN, …), and these over the file.
    Only the most common settings have flags. `jobworkerd config` with the same flags prints all resulting
    settings, such as the quotas of clients.
    """
    # It needs the cryptography package, which the other commands of the program must not wait for.
    from jobworkerd.certs import inspection

    inspection.check_server(Path(settings.config.certs_dir))
    if SOCKET_VARIABLE in os.environ:
        become_supervisor(settings.config, os.environ.pop(SOCKET_VARIABLE), os.environ.pop(SETTINGS_VARIABLE))
    else:
        become_keeper(settings.config, sys.argv[1:])


def become_keeper(config: Config, arguments: Sequence[str]) -> None:
    """Replace this process by the keeper. `arguments` are those of this command, for a later reload.

    Raises:
        OSError: the interpreter cannot be executed.
    """
    with _in_memory(config) as fd:
        _execute("jobworkerd.keeper", "--config-fd", str(fd), *arguments)


def become_supervisor(config: Config, keeper_fd: str, current_fd: str) -> None:
    """Replace this process by a supervisor that takes over from the current one.

    `keeper_fd` is the socket to the keeper and `current_fd` has the settings of the current supervisor.

    Raises:
        SettingsError: a setting differs that only a restart can change.
        OSError: the interpreter cannot be executed.
    """
    current = from_json(memory_file.read(int(current_fd)))
    set_inheritable([int(current_fd)], inheritable=False)
    for name in ("state_dir", "cgroup_base", "scratch.directory"):
        old, new = (attrgetter(name)(each) for each in (current, config))
        if old != new:
            was, wanted = old or "an empty value", new or "an empty value"
            raise SettingsError(
                f"{name}: a reload cannot change it from {was} to {wanted}; restart the server"
            )
    with _in_memory(config) as fd:
        _execute("jobworkerd.supervisor", "--config-fd", str(fd), "--keeper-fd", keeper_fd)


@contextmanager
def _in_memory(config: Config) -> Iterator[int]:
    """Return the descriptor of a file with the settings, which the next program inherits."""
    fd = memory_file.create("jobworkerd-config", to_json(config), inheritable=True)
    try:
        yield fd
    finally:
        os.close(fd)


def _execute(module: str, *arguments: str) -> None:
    # -P keeps a directory `jobworkerd` in the working directory from being imported.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - no shell is wanted
