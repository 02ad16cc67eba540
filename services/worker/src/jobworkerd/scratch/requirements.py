"""Checks whether the private directories of jobs can be on disk. The checks change nothing."""

import os

from jobworkerd.config import Config
from jobworkerd.scratch import project_quota

_ESCAPES = frozenset({"ioctl", "file_setattr"})
"""System calls that can move a file out of its project."""


def problem(config: Config) -> str:
    """Return why `scratch.directory` cannot be used, and the remedy; empty if it can, or is not set."""
    directory = config.scratch.directory
    if not directory:
        return ""
    return _problem_of_settings(config) or _problem_of_directory(directory)


def _problem_of_settings(config: Config) -> str:
    wanted = config.isolation
    if os.geteuid() != 0:
        return "only root can set quotas; start the server as root, or remove the setting"
    for name in ("mount_namespace", "no_new_privileges", "seccomp"):
        if not getattr(wanted, name):
            return f"jobs would not be bound by their quota without isolation.{name}; set it to true"
    if escapes := sorted(_ESCAPES & {*wanted.seccomp_allow}):
        return f"a job could leave its quota with {escapes[0]}; remove it from isolation.seccomp_allow"
    return ""


def _problem_of_directory(directory: str) -> str:
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return f"{directory} cannot be used ({error.strerror}); create the directory"
    try:
        problem = project_quota.problem(opened)
    finally:
        os.close(opened)
    return problem and (
        f"the file system of {directory} {problem}; mount ext4 (mkfs.ext4 -O quota,project) or XFS with "
        "-o prjquota, on Linux >= 5.14"
    )
