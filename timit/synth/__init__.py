"""A synthetic twin of TIMIT, spoken by espeak-ng: the recipe runs without a licence."""
