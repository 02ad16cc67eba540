"""`python -m jobworkerd.keeper --config-fd N ARGUMENTS...`: what `jobworkerd serve` turns into.

ARGUMENTS are those of `jobworkerd`. With `--table-fd N` a new version of the program continues. With
`--check` the program ends at once: a new version can be started.
"""

import gc
import sys

from jobworkerd.keeper.descriptors import reserve
from jobworkerd.keeper.inheritance import set_inheritable
from jobworkerd.keeper.program import Keeper


def main() -> int:
    """Keep the jobs until the server ends."""
    if sys.argv[1:] == ["--check"]:
        return 0
    option, descriptor, *arguments = sys.argv[1:]
    gc.freeze()
    reserve()
    if option == "--table-fd":
        return Keeper.continued(int(descriptor), arguments).run()
    set_inheritable([int(descriptor)], inheritable=False)
    return Keeper(int(descriptor), arguments).run()


if __name__ == "__main__":
    sys.exit(main())
