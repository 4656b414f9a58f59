"""What people write: settings of a run, study files."""
