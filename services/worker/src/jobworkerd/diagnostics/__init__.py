"""Examines what this host offers to jobs: controllers, isolation and kernel. It changes nothing.

`commands.doctor` imports this package. It may import the parts of the server that it examines.
"""
