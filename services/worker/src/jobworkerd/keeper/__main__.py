"""`python -m jobworkerd.keeper --config-fd N ARGUMENTS...`: what `jobworkerd serve` turns into.

ARGUMENTS are those of `jobworkerd`. With `--table-fd N` a new version of the program continues.
"""

import gc
import sys

from jobworkerd.keeper.program import Keeper


def main() -> int:
    """Keep the jobs until the server ends."""
    option, descriptor, *arguments = sys.argv[1:]
    gc.freeze()
    if option == "--table-fd":
        return Keeper.continued(int(descriptor), arguments).run()
    return Keeper(int(descriptor), arguments).run()


if __name__ == "__main__":
    sys.exit(main())
