"""Work in other processes: calls in, results out."""
