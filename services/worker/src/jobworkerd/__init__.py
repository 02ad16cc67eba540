"""jobworkerd: runs commands in cgroups for clients with certificates."""
