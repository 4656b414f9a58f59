"""A study: plan, train, compare."""
