"""The commands of `jobworkerd`, one file each. They import slow modules only when they run."""
