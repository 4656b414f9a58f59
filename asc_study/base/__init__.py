"""What lies below everything: errors, files, names, progress."""
