"""What a packed model costs on a described chip, and a simulator that proves it. Knows no corpus and no training."""
