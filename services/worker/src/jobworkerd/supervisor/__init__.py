"""Decides which jobs run, what stops them, what their final status is, and which API processes serve clients.

It imports `spawn`, `cgroup`, `logs` and `protocol`. Nothing but `commands` and `diagnostics` may import it.
"""
