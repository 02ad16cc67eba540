"""Authenticates and authorizes clients, and drops the privileges of the API process.

`api.server`, `api.main` and the interceptors import this package. It has no code for jobs and streams.
"""
