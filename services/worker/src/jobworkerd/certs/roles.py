"""What a certificate can be for. No cryptography here: the command line is parsed without it."""

import enum


class Role(enum.StrEnum):
    """What a certificate is for; ADMIN and VIEWER are clients."""

    SERVER = "server"
    ADMIN = "admin"
    VIEWER = "viewer"

    @property
    def organizational_unit(self) -> str | None:
        """The subject's OU, by which the server knows a client's role."""
        return None if self is Role.SERVER else self.value.capitalize()
