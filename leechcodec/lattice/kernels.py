"""The fast path: exact maximum and exact log-sum-exp of separable scores over all 196,560 codewords.

Give every coordinate a table of scores f_i(v), v in -4..4; the score of a codeword c is sum_i f_i(c_i). The nearest
codeword and the rate-aware choice are its maximum, the prior's normaliser its log-sum-exp. Neither visits the
codebook: a codeword is three blocks of eight coordinates (golay.py), and complementing a block of a Golay word gives
a Golay word, so the blocks are looked up in 64 classes {byte, complement} each, class 8·y + q:

    class 3   4,096 words   512 triples  (y, a) (y, b) (y, a ^ b)         of dual numbers (P, F)
    class 2     759 octads  336 triples  two bytes of weight 2, one of 4  of parities (E, O)
                             21 pairs    two of weight 4;  3 bytes of weight 8
    class 1     276 pairs   running sums (maxima) over the 24 coordinates

P: every entry of the block ±1;  F: one of them multiplied by -3;  E, O: an even, an odd number of minus signs over the
ones of the byte, entries ±2. A block's pair is the product of its two half-bytes', which grow coordinate by
coordinate along a binary tree: node 1 is the root, node 2n + s appends bit s to node n, nodes 16..31 are half-bytes.
Dual numbers multiply as (P, F)(P', F') = (PP', PF' + FP'), parities as (EE' + OO', EO' + OE');
under the maximum, + reads max and × reads +. All sums are of positive terms: nothing cancels at any scale.

Tokens lie side by side in the innermost dimension (lanes): every statement of a lane loop is one vector instruction.
A loop inside a lane loop has constant length: it is unrolled, and its sums stay in registers.
reference.py does the same by visiting the codebook. Method and measurements: docs/lattice.md.
"""

from leechcodec.lattice.maximum import best, nearest, nearest_index
from leechcodec.lattice.structure import LANES, VALUES, turyn
from leechcodec.lattice.summation import log_partition, log_partition_and_marginals

__all__ = [
    "LANES",
    "VALUES",
    "best",
    "log_partition",
    "log_partition_and_marginals",
    "nearest",
    "nearest_index",
    "turyn",
]
