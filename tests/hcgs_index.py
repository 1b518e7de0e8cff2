"""The size of the index of a hierarchy of square blocks, by its formula: what codes that write it are held against."""

from collections.abc import Sequence

from torch import Tensor


def hcgs_index_bits(mask: Tensor, blocks: Sequence[int]) -> int:
    """Bits of the hierarchical index of a mask: bool [out, in], blocks as it was made with.

    Per row of blocks the numbers of the kept ones, each in the fewest bits that tell the blocks of that row
    apart; then the same inside every kept block. The index code `hcgs` writes this and, before it, what it says of
    itself; the index of a packed model is this to the bit.
    """
    side = blocks[0]
    bits_each = (-(-mask.shape[1] // side) - 1).bit_length()
    total = 0
    for row in mask.split(side):
        for block in row.split(side, dim=1):
            if block.any():
                total += bits_each + (hcgs_index_bits(block, blocks[1:]) if len(blocks) > 1 else 0)
    return total
