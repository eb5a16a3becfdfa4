"""What quantizers with a list of codewords share: the nearest by brute force, probabilities by a sum over the list.

A codeword is an int8 vector, so that the prior, the file and the synthesis transform read it as they read any other
code. A product of k tables quantizes k parts of z independently, each part a table of its own in the same list.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from leechcodec.entropy import tables
from leechcodec.entropy.token_coder import TokenCoder
from leechcodec.errors import ConfigError, ModelError, QuantizerError
from leechcodec.quantizers.base import Quantizer, check_dim, full_precision

AT_ONCE, AT_ONCE_ON_GPU = 1 << 19, 1 << 26
"""Scores in memory at a time: as many as stay in a core's cache, or as keep a GPU busy."""
MAX_DIM, MAX_BITS = 64, 16
"""Of a list of 2^k vectors without structure."""


class _LogSumExp(torch.autograd.Function):
    """log Σ_k exp(x · f_k) of every row x: (N, F), (K, F) -> (N,). The gradient for x, Σ p_k f_k, is computed at once,
    so that scores, tokens times codewords, never leave the cache. That for f, where it has one, needs the scores again.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, features: Tensor) -> Tensor:
        columns, sums = features.T.contiguous(), rows.new_empty(len(rows))
        gradient = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        with full_precision(rows):
            for part in chunks(rows, len(features)):
                scores = rows[part] @ columns
                sums[part] = torch.logsumexp(scores, -1)
                if gradient is not None:
                    gradient[part] = scores.sub_(sums[part, None]).exp_() @ features
        ctx.save_for_backward(gradient, *((rows, columns, sums) if ctx.needs_input_grad[1] else ()))
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        gradient, *kept = ctx.saved_tensors
        of_rows = None if gradient is None else grad[:, None] * gradient
        if not kept:
            return of_rows, None
        rows, columns, sums = kept
        of_columns = torch.zeros_like(columns)
        with full_precision(rows):
            for part in chunks(rows, columns.shape[1]):
                p = (rows[part] @ columns).sub_(sums[part, None]).exp_()
                of_columns.addmm_((grad[part, None] * rows[part]).T, p)
        return of_rows, of_columns.T


def chunks(rows: Tensor, codewords: int) -> Iterator[slice]:
    """Rows whose scores of so many codewords are in memory at a time."""
    count = max(1, (AT_ONCE if rows.device.type == "cpu" else AT_ONCE_ON_GPU) // codewords)
    return (slice(start, start + count) for start in range(0, len(rows), count))


def _first_largest(scores: Tensor) -> Tensor:
    """float32 (N, K) -> int64 (N, 1). On the CPU by NumPy, whose argmax is vectorised: a search takes a third."""
    if scores.device.type == "cpu":
        return torch.from_numpy(scores.detach().numpy().argmax(1))[:, None]
    return scores.argmax(1, keepdim=True)


def check_list(name: str, dim: int, bits: int, least: int = 1) -> None:
    """Raises ConfigError for a list of 2^bits vectors that is too small or too large."""
    check_dim(name, dim, least)
    if dim > MAX_DIM or not 1 <= bits <= MAX_BITS:
        raise ConfigError(f"{name} goes up to {MAX_DIM} dimensions and from 1 to {MAX_BITS} bits, got {dim} and {bits}")


class TableQuantizer(Quantizer):
    """Codes are all (c_1, …, c_k), each c_j a row of the codebook, int8 (K, dim / k).

    stored: whether the codebook is part of a model (its name alone does not fix it), and so of its id.
    """

    codebook: Tensor

    def __init__(self, codebook: np.ndarray, factors: int = 1, stored: bool = True) -> None:
        super().__init__()
        self.factors, self.stored = factors, stored
        self.factor_dim = codebook.shape[1]
        self.dim = factors * self.factor_dim
        self.size = len(codebook) ** factors
        self.max_entry = int(np.abs(codebook.astype(np.int64)).max())
        self.register_buffer("codebook", torch.from_numpy(codebook.astype(np.int8)), persistent=stored)

    @property
    def delta_min(self) -> float:
        """Of the integer vectors, over all pairs, in blocks; a product's nearest codes differ in one factor alone."""
        book = self.codebook.double()
        squares, smallest = book.square().sum(1), float("inf")
        for start in range(0, len(book), 1024):
            block = book[start : start + 1024]
            distances = squares[start : start + 1024, None] + squares - 2 * block @ book.T
            distances[torch.arange(len(block)), torch.arange(start, start + len(block))] = float("inf")
            smallest = min(smallest, distances.min().item())
        return (smallest / (self.factors * squares.mean().item())) ** 0.5

    def codes_to_indices(self, codes: Tensor) -> Tensor:
        """Rows of the codebook as digits, the first factor's the most significant."""
        self.check_countable()
        self.check_codes(codes)
        digits = torch.from_numpy(self._rows(codes.cpu().numpy())).to(codes.device)
        return (digits * self._places(codes)).sum(-1)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        self.check_indices(indices)
        digits = indices[..., None] // self._places(indices) % len(self.codebook)
        return self.codebook[digits].reshape(*indices.shape, self.dim)

    # --- search -----------------------------------------------------------------------------------------------

    def nearest(self, u: Tensor) -> Tensor:
        return self.codebook[self.nearest_rows(u)].reshape(len(u), self.dim)

    def nearest_rows(self, u: Tensor) -> Tensor:
        """Rows of the codebook: float32 (N, dim) -> int64 (N, factors)."""
        return self._best(u, 1)[1].reshape(-1, self.factors)

    def runner_up(self, u: Tensor, codes: Tensor) -> Tensor:
        """The best code, or where that is the one given, the one with the second best row in the factor where that
        costs least."""
        scores, rows = self._best(u, 2)
        best, second = self.codebook[rows].reshape(len(u), self.factors, 2, self.factor_dim).unbind(2)
        weakest = (scores[:, 0] - scores[:, 1]).reshape(-1, self.factors).argmin(1)
        where = torch.arange(len(u), device=u.device)
        turned = best.clone()
        turned[where, weakest] = second[where, weakest]
        best, turned = best.reshape(len(u), self.dim), turned.reshape(len(u), self.dim)
        return torch.where((best == codes).all(1, keepdim=True), turned, best)

    def _best(self, u: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The best rows of every part and half their squared distances, negated, up to a term of the part alone:
        float32 (N · factors, count), int64 (N · factors, count)."""
        parts = u.float().reshape(-1, self.factor_dim)
        book = self.codebook.float()
        half = book.square().sum(1) / 2
        scores = parts.new_empty(len(parts), count)
        rows = torch.empty(len(parts), count, dtype=torch.int64, device=parts.device)
        with full_precision(parts):
            for part in chunks(parts, len(book)):
                found = torch.addmm(-half, parts[part], book.T)
                if count > 1:
                    scores[part], rows[part] = found.topk(count, dim=1)
                else:
                    rows[part] = _first_largest(found)
                    scores[part] = found.gather(1, rows[part])
        return scores, rows

    # --- probability ------------------------------------------------------------------------------------------

    def book(self) -> Tensor:
        """The codebook in real numbers, with a gradient where the codec's loss moves it: float32 (K, dim / k)."""
        return self.codebook.float()

    def log_partition(self, params: Tensor) -> Tensor:
        features = self.features(self.book()).reshape(len(self.codebook), -1)
        parts = self.expand(params.float()).reshape(-1, 3 * self.factor_dim)
        return _LogSumExp.apply(parts, features).reshape(-1, self.factors).sum(-1)

    def code_tokens(self, coder: TokenCoder, params: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        book = self.codebook.cpu().numpy()
        rows = None if codes is None else self._rows(codes)
        coded = tables.code_table_tokens(coder, params, book, self.code_shift, rows)
        return book[coded].reshape(len(coded), self.dim)

    # --- released models --------------------------------------------------------------------------------------

    def frozen(self) -> dict[str, np.ndarray]:
        return {"codebook": self.codebook.cpu().numpy()} if self.stored else {}

    def load_frozen(self, tensors: dict[str, np.ndarray]) -> None:
        if not self.stored:
            super().load_frozen(tensors)
            return
        codebook = tensors.get("codebook")
        if len(tensors) != 1 or codebook is None:
            raise ModelError(f"{self.name} needs the tensor codebook and no other, got {sorted(tensors)}")
        if codebook.dtype != np.int8 or codebook.shape != tuple(self.codebook.shape):
            raise ModelError(f"{self.name} needs a codebook int8 {tuple(self.codebook.shape)}")
        if np.abs(codebook.astype(np.int64)).max() > self.max_entry:
            raise ModelError(f"{self.name}: a codebook's entry is beyond ±{self.max_entry}")
        self.codebook.copy_(torch.from_numpy(codebook))

    def _rows(self, codes: np.ndarray) -> np.ndarray:
        """Rows of the codebook: integers (..., dim) -> int64 (..., factors)."""
        rows = rows_to_indices(self.codebook.cpu().numpy(), codes.reshape(-1, self.factor_dim))
        return rows.reshape(*codes.shape[:-1], self.factors)

    def _places(self, like: Tensor) -> Tensor:
        places = [len(self.codebook) ** (self.factors - 1 - i) for i in range(self.factors)]
        return torch.tensor(places, dtype=torch.int64, device=like.device)


def rows_to_indices(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """First index in the table, int8 (K, d), of each of the rows, integers (N, d): int64 (N,).

    Raises QuantizerError where a row is not in the table.
    """
    places = {row.tobytes(): index for index, row in reversed(list(enumerate(np.ascontiguousarray(table, np.int8))))}
    whole = np.ascontiguousarray(rows, np.int8)
    if (whole != rows).any():
        raise QuantizerError("a token is not in the codebook")
    try:
        found = [places[row.tobytes()] for row in whole]
    except KeyError:
        raise QuantizerError("a token is not in the codebook") from None
    return np.array(found, dtype=np.int64)
