"""Streams job output to clients: log readers, encoded messages and their cache.

`api.service` imports this package. It has no code for identities and the policy.
"""
