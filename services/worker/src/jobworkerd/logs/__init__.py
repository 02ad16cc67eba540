"""A job's output on disk: `format` (what the files hold), `writer`, `retention` and `store` (writing, within
bounds), `cursor` and `places` (reading).
"""
