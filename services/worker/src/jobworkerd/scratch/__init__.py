"""The private directories of jobs on disk: their trees, their project quotas and their removal."""
