"""`python -m jobworkerd.supervisor --config-fd N`: what `jobworkerd serve` turns into."""

import argparse
import os
import sys

from jobworkerd.config import from_json
from jobworkerd.supervisor.main import run


def main() -> int:
    """Read the settings from the descriptor and serve."""
    parser = argparse.ArgumentParser(prog="jobworkerd.supervisor")
    parser.add_argument("--config-fd", type=int, required=True)
    descriptor = parser.parse_args().config_fd
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        config = from_json(file.read())
    return run(config)


if __name__ == "__main__":
    sys.exit(main())
