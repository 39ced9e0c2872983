"""Tests of flowcli.evaluation."""
