"""Trained models in other programs' formats: `python -m frenchpress.export.to_onnx exp/<name>`."""
