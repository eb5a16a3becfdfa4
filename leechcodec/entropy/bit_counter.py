"""What an ideal coder would write, without writing it."""

import numpy as np

from leechcodec.entropy.range_coder import COUNT, CompiledCoder


class BitCounter(CompiledCoder):
    """Codes nothing and adds up -log2(q / 2^24), what an ideal coder would write.

    tokens: how many tokens to keep apart. token_bits: float64 (tokens,), the bits of each.
    """

    def __init__(self, tokens: int = 0) -> None:
        super().__init__(COUNT, np.zeros(0, dtype=np.uint32), tokens)
        self.token_bits = self._tally[1:]

    @property
    def bits(self) -> float:
        """The bits of all symbols so far."""
        return float(self._tally[0])
