"""The functions of a density as plain lists of array operations, which run on NumPy alone."""
