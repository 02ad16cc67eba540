"""Metrics that the supervisor and the API processes record: definitions, instruments and samples.

The package imports only the standard library and msgspec, as the supervisor does. An API process turns
samples into Prometheus' text form or OTLP (`api.metrics`, `rpc_server.metrics`).
"""
