"""Tests of flowcli.transforms."""
