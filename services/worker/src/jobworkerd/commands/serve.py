"""`jobworkerd serve`: reads the settings and becomes the supervisor.

The supervisor replaces this process with execve(2), so that it carries none of the modules imported here. It
receives the settings in a memfd, because every user of the host can read arguments.
"""

import os
import sys
from pathlib import Path

from jobworkerd.certs import files
from jobworkerd.config import Config, to_json
from jobworkerd.settings.options import FLAGS, with_settings
from jobworkerd.settings.resolve import Settings


@with_settings(*FLAGS)
def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT.

    Flags take precedence over environment variables (JOBWORKERD_LISTEN, …), and these over the file.
    `jobworkerd config` with the same flags prints the resulting settings.
    """
    files.check_server_files(Path(settings.config.certs_dir))
    become_supervisor(settings.config)


def become_supervisor(config: Config) -> None:
    """Replace this process by the supervisor, which inherits the settings as an open file.

    Raises:
        OSError: the interpreter cannot be executed.
    """
    fd = os.memfd_create("jobworkerd-config", 0)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(to_json(config))
        os.lseek(fd, 0, os.SEEK_SET)
        # -P keeps a directory `jobworkerd` in the working directory from being imported.
        command = [sys.executable, "-P", "-m", "jobworkerd.supervisor", "--config-fd", str(fd)]
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
    finally:
        os.close(fd)
