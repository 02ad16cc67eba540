"""`python -m jobworkerd.supervisor --config-fd N --keeper-fd N`: a program that the keeper starts."""

import argparse
import socket
import sys

from jobworkerd.config import from_json
from jobworkerd.keeper import memory_file
from jobworkerd.keeper.client import KeeperClient
from jobworkerd.supervisor.main import run


def main() -> int:
    """Read the settings from their descriptor and serve."""
    parser = argparse.ArgumentParser(prog="jobworkerd.supervisor")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--keeper-fd", type=int, required=True)
    arguments = parser.parse_args()
    settings: int = arguments.config_fd
    config = from_json(memory_file.read(settings))
    keeper = KeeperClient(socket.socket(fileno=arguments.keeper_fd))
    return run(config, settings, keeper)


if __name__ == "__main__":
    sys.exit(main())
