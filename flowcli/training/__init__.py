"""Maximum likelihood: the loop, its schedule, and where it runs."""
