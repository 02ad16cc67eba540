"""Objects of jobs in Kubernetes, and how to watch them: the common part of the gateway and the agents."""
