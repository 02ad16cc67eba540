"""The keeper: the main process of the service, and the parent of all jobs.

It holds the descriptors of each job and starts the supervisor again when that has died, so jobs outlive the
supervisor. It imports the standard library only. `client` is the supervisor's end of the connection.
"""
