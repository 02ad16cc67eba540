"""The messages about logins: a client creates a one-time token, and a delegate redeems it."""

import msgspec


class CreateLogin(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Creates a one-time token for the client with a certificate. The reply is `LoginToken`.

    `chain` has the intermediate certificates.
    """

    subject: str
    certificate: bytes
    chain: bytes


class RedeemLogin(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Uses a one-time token up. The reply is `Login`."""

    token: str


class GetSessionKey(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the `SessionKey`."""


class LoginToken(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A one-time token, and the seconds for which it is valid."""

    token: str
    seconds: float


class Login(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The certificate of the client that created a token; empty if the token is not valid."""

    certificate: bytes = b""
    chain: bytes = b""


class SessionKey(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The key that signs session tokens. It stays the same when the supervisor or the server restarts."""

    key: bytes


LoginRequest = CreateLogin | RedeemLogin | GetSessionKey
LoginReply = LoginToken | Login | SessionKey
