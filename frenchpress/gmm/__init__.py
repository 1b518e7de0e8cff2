"""Monophone to speaker-adapted triphone GMM-HMM."""
