"""Between a table's columns and the real vectors that a flow sees."""
