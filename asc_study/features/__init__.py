"""Log-mel features: how they are computed (`logmel`, `deltas`) and where they are kept (`store`)."""
