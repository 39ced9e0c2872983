"""Figures: what a likelihood is worth."""
