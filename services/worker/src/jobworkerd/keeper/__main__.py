"""`python -m jobworkerd.keeper STATE`: what `jobworkerd serve` turns into. STATE is a descriptor."""

import resource
import sys

from jobworkerd.keeper import reexec
from jobworkerd.keeper.program import Keeper


def main() -> int:
    """Run the keeper."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Keeper(reexec.read_state(int(sys.argv[1]))).run()


if __name__ == "__main__":
    sys.exit(main())
