"""VQ: a learned codebook whose codewords are moving averages of what they stood for.

van den Oord et al., "Neural Discrete Representation Learning", arXiv 1711.00937, appendix A.1 (the averages); restart
of unused codewords as in Dhariwal et al., "Jukebox", arXiv 2005.00341. The averages are smoothed as in
vector-quantize-pytorch, with which the tests compare.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from leechcodec.quantizers.base import straight_through
from leechcodec.quantizers.learned import COMMITMENT, GRID, LearnedQuantizer, sampled

DECAY = 0.99
SMOOTHING = 1e-5
DEAD = 0.5
"""A codeword used less often a step, on average, is restarted at a z seen lately."""


class VQ(LearnedQuantizer):
    """counts: average uses of each codeword a step; sums: average sum of the z it was used
    for; words: their quotient; candidates: z of the last steps."""

    counts: Tensor
    sums: Tensor
    words: Tensor
    candidates: Tensor
    seen_counts: Tensor
    seen_sums: Tensor

    def __init__(self, dim: int, bits: int) -> None:
        super().__init__("vq", dim, bits)
        self.register_buffer("counts", torch.zeros(self.size))
        self.register_buffer("sums", torch.zeros(self.size, dim))
        self.register_buffer("words", torch.zeros(self.size, dim))
        self.register_buffer("candidates", torch.zeros(self.size, dim))
        # What the running step saw: over all stages, since they share the codebook.
        self.register_buffer("seen_counts", torch.zeros(self.size), persistent=False)
        self.register_buffer("seen_sums", torch.zeros(self.size, dim), persistent=False)
        self.set_codewords(torch.randn(self.size, dim))
        self.refresh()

    def codewords(self) -> Tensor:
        return self.words

    @torch.no_grad()
    def set_codewords(self, codewords: Tensor) -> None:
        self.words.copy_(codewords)
        self.sums.copy_(codewords)
        self.candidates.copy_(codewords)
        self.counts.fill_(1.0)

    def quantize_projected(self, u: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.training and torch.is_grad_enabled()):
            return super().quantize_projected(u)
        flat = u.detach().reshape(-1, self.dim)
        rows = self.nearest_rows(flat)[:, 0]
        self._observe(flat / GRID, rows)
        codes = self.codebook[rows].reshape(u.shape)
        return codes, straight_through(codes, u)

    def _observe(self, z: Tensor, rows: Tensor) -> None:
        self.seen_counts.index_add_(0, rows, torch.ones_like(rows, dtype=torch.float32))
        self.seen_sums.index_add_(0, rows, z)
        picked = torch.randint(len(self.candidates), (min(len(z), self.size),), device=z.device)
        self.candidates[picked] = z[torch.randperm(len(z), device=z.device)[: len(picked)]]

    def codebook_loss(self, z: Tensor) -> Tensor:
        """The commitment alone, β·|z - sg[c]|², over at most 1,024 tokens: the codewords follow by themselves."""
        u = self.project(sampled(z)) / GRID
        words = self.codebook[self.nearest_rows(u.detach() * GRID)[:, 0]].float() / GRID
        return COMMITMENT * (u - words).square().mean()

    @torch.no_grad()
    def after_step(self, fraction: float) -> None:
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.seen_counts)
            dist.all_reduce(self.seen_sums)
        seen = bool(self.seen_counts.any())
        if seen:
            self.counts.lerp_(self.seen_counts, 1 - DECAY)
            self.sums.lerp_(self.seen_sums, 1 - DECAY)
            total = self.counts.sum()
            smoothed = (self.counts + SMOOTHING) / (total + self.size * SMOOTHING) * total
            self.words.copy_(self.sums / smoothed[:, None])
            self._restart(self.counts < DEAD)
            self.skip_step()
        self.refresh()

    def skip_step(self) -> None:
        self.seen_counts.zero_()
        self.seen_sums.zero_()

    def _restart(self, dead: Tensor) -> None:
        """Processes of one run differ in what they saw; the first one's codebook is everyone's at the next step."""
        fresh = self.candidates[dead]
        self.words[dead], self.sums[dead] = fresh, fresh
        self.counts[dead] = 1.0
