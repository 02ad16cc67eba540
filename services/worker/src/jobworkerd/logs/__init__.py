"""A job's output on disk: `format` (what the files hold), `store` (writing), `cursor` (reading)."""
