"""The keeper: the main process of the server. It outlives the supervisor, and so do the jobs.

It is the parent of the jobs' processes and holds a duplicate of each job's descriptors. It decides nothing
about jobs, reads no output and parses no state.
"""
