"""Writes the output of a job to stdout and stderr, with timestamps, messages and signals.

`actions` imports this package. It imports `render`.
"""
