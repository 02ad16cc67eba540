"""The roles of certificates. It does not import cryptography, which is slow and not needed for parsing."""

import enum


class Role(enum.StrEnum):
    """The role of a certificate. ADMIN and VIEWER are clients, and a DELEGATE acts for them.

    A GATEWAY runs the jobs of a cluster on its hosts.
    """

    SERVER = "server"
    ADMIN = "admin"
    VIEWER = "viewer"
    DELEGATE = "delegate"
    GATEWAY = "gateway"

    @property
    def organizational_unit(self) -> str | None:
        """The OU of the subject, from which the server derives the role of a client."""
        return None if self is Role.SERVER else self.value.capitalize()
