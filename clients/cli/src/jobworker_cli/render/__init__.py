"""Renders results as text: tables, details, JSON, numbers, times and error messages.

`actions`, `stream` and `settings` import this package. It makes no calls.
"""
