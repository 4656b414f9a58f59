"""Log-mel features: how they are computed (`logmel`) and where they are kept (`store`)."""
