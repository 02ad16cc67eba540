"""The metrics of an API process, and the Prometheus endpoint of the whole server."""
