"""The command line: each command parses, calls and prints. Heavy packages are imported inside functions."""
