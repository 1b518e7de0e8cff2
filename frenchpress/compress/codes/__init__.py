"""Codes that write a sparse matrix of integers as bytes and read it back; numpy alone.

`encode(integers, mask, make_index_code("csr"), "huffman")` gives the bytes, `decode(data)` matrix and mask.
"""

from frenchpress.compress.codes.bounds import hcgs_bound, mask_bound, value_entropy
from frenchpress.compress.codes.choose import Coding, cheapest, index_codings
from frenchpress.compress.codes.container import INDEX_CODES, Encoded, decode, encode, encode_parts, make_index_code
from frenchpress.compress.codes.index import IndexCode, Origin
from frenchpress.compress.codes.values import VALUE_CODES, plain_value_code

__all__ = [
    "INDEX_CODES",
    "VALUE_CODES",
    "Coding",
    "Encoded",
    "IndexCode",
    "Origin",
    "cheapest",
    "decode",
    "encode",
    "encode_parts",
    "hcgs_bound",
    "index_codings",
    "make_index_code",
    "mask_bound",
    "plain_value_code",
    "value_entropy",
]
