"""The packed model: a trained network as integers in one file, its runtime, and the reference that defines every bit.

Depends on numpy alone. docs/packed_model.md describes file and arithmetic byte for byte.
"""
