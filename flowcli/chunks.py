"""How many rows of a table are computed at once."""

# With more, what is between two layers no longer fits a processor's cache.
CHUNK = 4096
# A GPU takes as long for a few rows; with many more, what is between two layers of a wide network takes gigabytes.
CHUNK_ON_GPU = 16_384
