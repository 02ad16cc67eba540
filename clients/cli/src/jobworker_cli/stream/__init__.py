"""Writes a job's output to the terminal: byte sinks, timestamps, notices and signals.

`actions` imports this package. It imports `render`.
"""
