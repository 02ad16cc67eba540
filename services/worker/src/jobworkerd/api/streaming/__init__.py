"""Streams job output to clients: log readers, encoded messages, their cache, and the pace of each stream.

`api.service` and `api.server` import this package. It has no code for identities and the policy.
"""
