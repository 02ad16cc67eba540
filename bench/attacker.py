"""Attack a server on this host, as the abuse cases of `make bench` do.

`python attacker.py ATTACK ADDRESS CERTS_DIR JOB_ID` prints `ready`, starts at the first line of its standard
input and ends at the end of it. Then it prints the extent of the attack.
"""

import asyncio
import os
import sys
from pathlib import Path

import uvloop
from attacks import ATTACKS
from target import Extent, Target

_NICE = 19


async def _main(name: str, target: Target) -> None:
    extent = Extent()
    # An attacker on another host takes no CPU time of the server and of its clients.
    os.nice(_NICE)
    # uvloop reports each connection that the server closes during a write.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    attack = asyncio.create_task(ATTACKS[name](target, extent))
    await asyncio.to_thread(sys.stdin.read)
    attack.cancel()
    await asyncio.wait([attack])
    print(extent.value)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], Target(sys.argv[2], Path(sys.argv[3]), sys.argv[4])))
