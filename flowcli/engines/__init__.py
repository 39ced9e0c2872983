"""What is done to the rows of tables, here or on a cluster."""
