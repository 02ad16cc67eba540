"""`python -m jobworkerd.api --config-fd N --socket-fd N --jobs-fd N`: how the supervisor starts it."""

import signal
import sys

from jobworkerd.api import environment


def main() -> int:
    """Prepares the process and runs it."""
    # A terminal sends Ctrl-C to the supervisor, too, and it decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    environment.prepare()

    from jobworkerd.api.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
