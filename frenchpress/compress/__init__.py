"""Quantizers, masks and size accounting; knows neither speech nor LSTM."""
