"""Resolves the server's settings: flags over environment over TOML file over defaults.

`commands` imports this package. It imports `config` and no other part of the server.
"""
