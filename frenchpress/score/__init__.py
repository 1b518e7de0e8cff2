"""Phones to phone error rate."""
