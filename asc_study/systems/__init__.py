"""What becomes of runs after training: found by name, combined, compared, imported and exported."""
