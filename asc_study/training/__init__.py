"""Training: batches, the learning-rate schedule and the one training loop."""
