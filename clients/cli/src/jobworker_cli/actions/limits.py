"""The limits of a command line as fields of a request."""

from dataclasses import fields
from typing import Any

from jobworker_cli.settings.options import LimitOptions

__all__ = ["limits_of"]


def limits_of(options: LimitOptions) -> dict[str, Any]:
    """Returns the given limits by the names of their fields in the request."""
    values = {field.name: getattr(options, field.name) for field in fields(LimitOptions)}
    return {name: value for name, value in values.items() if value is not None}
