"""Prepares and starts processes: the fork server, the spare processes, isolation, the exec protocol.

`supervisor` imports this package, never the reverse. It imports only the standard library and the
modules at the base of `jobworkerd`.
"""
