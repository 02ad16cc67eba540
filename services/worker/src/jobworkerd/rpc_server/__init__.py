"""The code that all gRPC servers of the project share: checks, conversion, identities, interceptors, wiring.

The API process of a host serves its supervisor, and a gateway serves a cluster. Both import this package,
which knows neither of them. It never forks and owns no jobs.
"""
