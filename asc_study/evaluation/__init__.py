"""Evaluation: the predictions table and the metrics computed from it."""
