"""The metrics of the agent, and the endpoint where Prometheus reads them."""
