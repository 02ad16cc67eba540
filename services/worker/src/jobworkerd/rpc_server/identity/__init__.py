"""Authenticates and authorizes clients.

The servers and the interceptors import this package. It has no code for jobs and streams.
"""
