"""Tests of flowcli.flows."""
