"""The agent: makes the host of a jobworkerd a node of a Kubernetes cluster, without a kubelet."""
