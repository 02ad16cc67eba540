"""The Prometheus endpoint of a server, whatever it measures."""
