"""The documentation, tested by being followed."""
