"""Trained models for use elsewhere: packed integers and their decoding, and other programs' formats (ONNX)."""
