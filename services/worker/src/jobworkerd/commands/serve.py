"""`jobworkerd serve`: reads the settings and becomes the supervisor.

The supervisor replaces this process (execve(2)), so that it carries nothing of what is imported here. It
gets the settings through a memfd, not through arguments, which every user of the host could read.
"""

import os
import sys
from pathlib import Path

from jobworkerd.certs import files
from jobworkerd.config import Config, to_json
from jobworkerd.settings import resolve
from jobworkerd.settings.options import (
    ApiProcesses,
    CertsDir,
    CgroupBase,
    ConfigFile,
    Listen,
    LoggingFormat,
    LoggingLevel,
    MaxJobs,
    StateDir,
    text,
)


def serve(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    config: ConfigFile = None,
    listen: Listen = None,
    state_dir: StateDir = None,
    certs_dir: CertsDir = None,
    cgroup_base: CgroupBase = None,
    api_processes: ApiProcesses = None,
    max_jobs: MaxJobs = None,
    logging_level: LoggingLevel = None,
    logging_format: LoggingFormat = None,
) -> None:
    """Run the server until SIGTERM or SIGINT.

    Flags have precedence over the environment (JOBWORKERD_LISTEN, …), and that over the file. `jobworkerd
    config` with the same flags prints what would be in force.
    """
    flags = {
        "listen": listen,
        "state_dir": text(state_dir),
        "certs_dir": text(certs_dir),
        "cgroup_base": text(cgroup_base),
        "api.processes": api_processes,
        "max_jobs": max_jobs,
        "logging.level": logging_level,
        "logging.format": logging_format,
    }
    in_force = resolve.load(config, os.environ, flags).config
    files.check_server_files(Path(in_force.certs_dir))
    become_supervisor(in_force)


def become_supervisor(config: Config) -> None:
    """Replaces this process by the supervisor, which inherits the settings as an open file.

    Raises:
        OSError: the interpreter could not be executed.
    """
    fd = os.memfd_create("jobworkerd-config", 0)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(to_json(config))
        os.lseek(fd, 0, os.SEEK_SET)
        # -P: a directory `jobworkerd` where the server happens to be started is not what is meant.
        command = [sys.executable, "-P", "-m", "jobworkerd.supervisor", "--config-fd", str(fd)]
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
    finally:
        os.close(fd)
