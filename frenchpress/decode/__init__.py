"""Search: per-frame scores and a graph to phones."""
