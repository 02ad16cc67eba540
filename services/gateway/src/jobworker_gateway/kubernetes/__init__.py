"""The engine on Kubernetes: a Secret is the accepted job, a Pod is its current attempt."""
