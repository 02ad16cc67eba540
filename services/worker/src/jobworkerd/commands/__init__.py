"""The commands of `jobworkerd`, one file each. Each imports what it needs when it runs, to start fast."""
