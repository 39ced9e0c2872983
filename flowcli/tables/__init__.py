"""Tables in and out: reading, writing, what each column is, and how rows are split."""
