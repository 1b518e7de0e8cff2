"""The LSTM acoustic model, its data and its trainer."""

FINAL = "final.pt"
"""A trained model, in the directory of its experiment."""
