"""Scripts of jobs."""

from pathlib import Path


def waiting_for(go: Path) -> str:
    """Return a script that prints a line, and another one once a file exists."""
    return f"echo ready; until [ -e {go} ]; do sleep 0.05; done; echo released; exec sleep 600"
