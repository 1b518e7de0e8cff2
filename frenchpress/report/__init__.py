"""Tables over experiments."""
