"""The gateway: the API of the server, for the jobs of a cluster."""
