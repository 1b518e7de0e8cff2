"""Train LSTM acoustic models for phone recognition and press them small."""

import os

# torch's threads spin while they wait for each other. On a machine shared with other work that takes the time away
# from whoever is waited for: a training step on two busy cores was four times slower. To be set before torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
