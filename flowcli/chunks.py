"""How many rows of a table are computed at once."""

# With more, what is between two layers no longer fits a processor's cache.
CHUNK = 4096
# Of a sample that is drawn column by column, by networks whose layers are not wider: it takes many steps, each of which
# has a price of its own.
STEPWISE_CHUNK = 8192
WIDEST_STEPWISE = 128
# A GPU takes as long for a few rows; with many more, what is between two layers of a wide network takes gigabytes.
CHUNK_ON_GPU = 16_384
