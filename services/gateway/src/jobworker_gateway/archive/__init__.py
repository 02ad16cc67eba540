"""Keeps the final jobs of a cluster in a database: SQLite for one gateway, PostgreSQL for several.

Both have the same tables and the same statements. A row is written once and never changes.
"""
