"""A chip that runs: words in memories, one cycle after the other. Knows nothing of the formulas."""
