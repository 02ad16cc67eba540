"""Resolves the server, the certificates and the options of a command, and opens the client.

`commands` and `actions` import this package. It imports `render`.
"""
