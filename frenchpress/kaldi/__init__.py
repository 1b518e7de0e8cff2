"""Kaldi's directories and file formats."""
