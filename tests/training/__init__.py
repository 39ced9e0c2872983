"""Tests of flowcli.training."""
