"""The schema of an experiment's `.cfg`."""
