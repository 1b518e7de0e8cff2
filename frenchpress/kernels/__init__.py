"""Recurrences and sparse products, each with a plain reference."""
