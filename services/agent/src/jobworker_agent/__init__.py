"""The agent: makes the host of a server a node of a cluster, and runs its jobs there."""
