"""The LSTM acoustic model, its data and its trainer."""
