"""The records of all jobs, in a SQLite database of the supervisor."""
