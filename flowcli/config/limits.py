"""Limits that the command line knows without the schema, which takes a while to import."""

MOST_THREADS = 256
