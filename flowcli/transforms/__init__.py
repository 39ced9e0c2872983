"""Invertible maps with their log-determinants, and the registry that names them.

Importing this package does not import torch: the catalogue is plain data (:mod:`.catalogue`), and a
builder is imported when a model is built (:func:`.registry.build`).
"""
