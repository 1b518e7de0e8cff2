"""The corpus: TIMIT phone sets and splits, the LDC93S1 reader and its synthetic twin."""
