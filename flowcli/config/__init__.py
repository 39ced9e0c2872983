"""Configs: one typed schema, read from YAML with positions, presets, and overrides from the command line."""
