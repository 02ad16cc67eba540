"""Checks the address of a PostgreSQL database.

The library quotes parts of a wrong address in its errors and in the log, also parts of its password.
"""

import re
from collections.abc import Collection

import psycopg
from psycopg.conninfo import conninfo_to_dict

from jobworkerd.startup import CannotStart

_UNESCAPED = re.compile(r"[^@/]*[@/][^?]*@")
"""An @ after another one, or after a /. The library ends the password at the first of them."""

_ESCAPES = "write each special character of the password as % and two hexadecimal digits, such as %40 for @"


def parameters(url: str) -> Collection[str]:
    """Return the names of the parameters in an address.

    Raises:
        CannotStart: the library does not find the user, the password and the host where they are. The
            message has no part of the address.
    """
    if _UNESCAPED.match(url.partition("://")[2]):
        raise CannotStart(f"archive: the address has an unescaped @ or / in its password; {_ESCAPES}")
    try:
        return conninfo_to_dict(url).keys()
    except psycopg.Error:
        # Without the cause, which quotes the address.
        raise CannotStart(
            "archive: the address is not accepted; "
            f"use postgresql://USER:PASSWORD@HOST/DATABASE, and {_ESCAPES}"
        ) from None
