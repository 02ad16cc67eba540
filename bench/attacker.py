"""Attack a server on this host, as the abuse cases of `make bench` do.

`python attacker.py ATTACK ADDRESS CERTS_DIR JOB_ID` prints `ready`, starts at the first line of its standard
input and ends at the end of it. Then it prints the extent of the attack.
"""

import asyncio
import os
import sys
import traceback
from pathlib import Path

import uvloop
from attacks import ATTACKS
from target import Extent, Target

_NICE = 19


def _fail(attack: "asyncio.Task[None]") -> None:
    """End the program with the error of an attack, which otherwise never ends."""
    traceback.print_exception(attack.exception())
    os._exit(1)


async def _main(name: str, target: Target) -> None:
    extent = Extent()
    # An attacker on another host takes no CPU time of the server and of its clients.
    os.nice(_NICE)
    # uvloop reports each connection that the server closes during a write.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    attack = asyncio.create_task(ATTACKS[name](target, extent))
    attack.add_done_callback(_fail)
    await asyncio.to_thread(sys.stdin.read)
    print(extent.value, flush=True)
    # An attacker does not close its connections, and thousands of tasks take long to end.
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], Target(sys.argv[2], Path(sys.argv[3]), sys.argv[4])))
