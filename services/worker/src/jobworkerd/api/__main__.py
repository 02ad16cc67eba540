"""`python -m jobworkerd.api --config-fd N --socket-fd N --jobs-fd N`, the command of the supervisor."""

import signal
import sys

from jobworkerd.rpc_server import environment


def main() -> int:
    """Prepare the process and run it."""
    # A terminal sends these signals to the whole group. The supervisor decides when this process ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    environment.prepare()

    from jobworkerd.api.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
