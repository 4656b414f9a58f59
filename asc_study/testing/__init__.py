"""Contract suites for authors of own parts: each raises an AssertionError that says what to correct."""
