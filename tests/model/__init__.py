"""Tests of flowcli.model."""
