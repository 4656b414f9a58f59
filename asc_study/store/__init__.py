"""The tracking store: runs in, runs out."""
