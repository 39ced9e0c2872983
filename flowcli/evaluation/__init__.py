"""Figures: what a likelihood is worth, and what of a model does not fit."""
