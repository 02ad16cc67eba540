"""Establishes who a client is and what it may do, and drops the privileges of the API process itself.

`api.server`, `api.main` and the interceptors import this package. It knows no jobs and no streams.
"""
