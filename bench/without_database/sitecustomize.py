"""Lets a supervisor keep no records: the reference of the database's cost in `make bench`.

Python imports this module at the start of each program that has its directory in PYTHONPATH. Changes of
records then succeed at once. Final jobs are found only while the supervisor's cache has them.
"""

import contextlib
import sys

if "jobworkerd.supervisor" in sys.orig_argv:
    from jobworkerd.records import write_queue, writes

    write_queue.transaction = lambda _: contextlib.nullcontext()  # type: ignore[assignment, attr-defined, return-value]
    for change in (writes.Save, writes.Delete, writes.SetStored, writes.SetMeta):
        change.execute = lambda *_: None  # type: ignore[method-assign]
