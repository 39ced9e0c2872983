"""Fitted models as programs that run without flowcli."""
