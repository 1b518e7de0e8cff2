"""From samples to features."""
