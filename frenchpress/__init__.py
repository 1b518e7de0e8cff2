"""Train LSTM acoustic models for phone recognition and press them small."""
