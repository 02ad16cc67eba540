"""Interceptors, which run around every RPC: one file per concern."""
