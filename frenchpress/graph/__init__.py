"""Language directory, phone bigram and the HCLG decoding graph."""
