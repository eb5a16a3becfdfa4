"""Times of the codebook's computations on one thread, against brute force over the 196,560 codewords in torch.

    taskset -c 1 python -m tools.bench_lattice [--tokens 8192] [--repeats 7] [--json]

Every figure is the best of the repeats, in microseconds of processor time per token, so that other work on the core
counts for little. Peers run in the same process, float32, in blocks of 256 tokens. Random inputs: directions uniform on
the sphere, score tables of the prior's form with unit parameters. For all of the lattice: 64 Laplacian tables of scales
1/4 to 8 steps over windows of 16, 32 and 64 values, one drawn for every coordinate, and the rate-aware points of such
vectors. Coding is to and from bytes, masses, pmfs and range coder together.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from leechcodec.entropy import leech_masses
from leechcodec.entropy.pmf import SCORE_UNIT
from leechcodec.entropy.point_coding import code_points
from leechcodec.entropy.point_masses import ScoreTables
from leechcodec.entropy.range_coder import TokenDecoder, TokenEncoder
from leechcodec.entropy.token_coder import GROUP
from leechcodec.lattice import closest, kernels, partition, torch_kernels
from leechcodec.lattice.leech import codebook
from leechcodec.lattice.marginals import log_partition_and_marginals
from leechcodec.quantizers.leech import LeechSQ

BLOCK = 256
PEER_TOKENS = 512
TABLES = 64
WINDOWS = (16, 32, 64)
WEIGHT = 0.95
"""1 / (2·D), D = 0.526 the lattice's squared error a coordinate at high rate."""


@dataclass
class Row:
    """One computation: ours and its brute-force peer, if any, in microseconds per token; ratio = peer / ours."""

    name: str
    ours: float
    peer_name: str = ""
    peer: float | None = None
    ratio: float | None = None


def measure(tokens: int, repeats: int) -> list[Row]:
    """All rows of the table."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(tokens, 24, generator=generator)
    params = torch.randn(tokens, 24, 3, generator=generator)
    scores = LeechSQ().score_table(params)
    book = codebook_features()
    directions, tables = z.numpy(), scores.numpy()
    integers = (params * SCORE_UNIT).round().long().numpy()

    def time_of(function: Callable, *inputs) -> float:
        return microseconds(function, inputs, repeats)

    def peer_time_of(function: Callable, inputs: Tensor) -> float:
        blocks = inputs[:PEER_TOKENS].split(BLOCK)
        return microseconds(lambda: [function(block) for block in blocks], (), 3, PEER_TOKENS)

    argmax = peer_time_of(lambda block: (block @ book[:24]).argmax(1), z)
    argmax_of_scores = peer_time_of(lambda block: (block.flatten(1) @ book).argmax(1), params.mT.contiguous())
    logsumexp = peer_time_of(lambda block: (block.flatten(1) @ book).logsumexp(1), params.mT.contiguous())
    with_gradient = peer_time_of(lambda block: brute_force_gradient(block, book), params.mT.contiguous())
    return [
        compared("nearest codeword", time_of(kernels.nearest, directions), "(z @ C.T).argmax(1)", argmax),
        compared("nearest, index", time_of(kernels.nearest_index, directions), "(z @ C.T).argmax(1)", argmax),
        compared("best codeword of scores", time_of(kernels.best, tables), "scores.argmax(1)", argmax_of_scores),
        compared("log_partition", time_of(kernels.log_partition, tables), "scores.logsumexp(1)", logsumexp),
        compared("the coder's exact normaliser", time_of(coder_masses, integers), "scores.logsumexp(1)", logsumexp),
        compared(
            "log_partition, forward + backward",
            time_of(forward_and_backward, scores.requires_grad_()),
            "scores.logsumexp(1), forward + backward",
            with_gradient,
        ),
        *lattice_rows(tokens, time_of),
    ]


def lattice_rows(tokens: int, time_of: Callable) -> list[Row]:
    """All of the lattice, which has no brute-force peer: its points are without number."""
    rng = np.random.default_rng(0)
    scales = 2.0 ** np.linspace(-2, 3, TABLES)
    index = rng.integers(0, TABLES, (tokens, 24))
    y = rng.laplace(size=(tokens, 24)) * scales[index]
    rows = [Row("all of Λ24: nearest point", round(time_of(closest.closest_point, y), 2))]
    for width in WINDOWS:
        values = np.abs(np.arange(width) - width // 2)
        scores = np.round(-SCORE_UNIT * values / scales[:, None]).astype(np.int64)
        nats, tables, inside = scores / SCORE_UNIT, ScoreTables.of(scores), y.clip(-width / 2, width / 2)
        points, _ = closest.rate_aware_point(inside, WEIGHT, nats, index)
        data = encode_points(index, tables, points)
        for name, function, *inputs in (
            ("rate-aware point", closest.rate_aware_point, inside, WEIGHT, nats, index),
            ("log_partition", lambda index, scores: partition.log_partition(scores, index), index, nats),
            ("with marginals", lambda index, scores: log_partition_and_marginals(scores, index), index, nats),
            ("encode", encode_points, index, tables, points),
            ("decode", decode_points, index, tables, data),
        ):
            rows.append(Row(f"{name}, window of {width}", round(time_of(function, *inputs), 2)))
    return rows


def encode_points(index: np.ndarray, tables: ScoreTables, points: np.ndarray) -> bytes:
    encoder = TokenEncoder()
    code_points(encoder, tables, index, points)
    return encoder.to_bytes()


def decode_points(index: np.ndarray, tables: ScoreTables, data: bytes) -> np.ndarray:
    decoder = TokenDecoder(data)
    points = code_points(decoder, tables, index)
    decoder.finish()
    return points


def coder_masses(params: np.ndarray) -> np.ndarray:
    """From the prior's integers to the exact masses of classes, octads and pairs, in range_coder.py's groups."""
    groups = [params[start : start + GROUP] for start in range(0, len(params), GROUP)]
    return np.concatenate([leech_masses.shell_masses(group)[0] for group in groups])


def codebook_features() -> Tensor:
    """float32 (72, 196560): with (a, b, d) flattened to 72 numbers a token, the matrix product is every score."""
    c = torch.from_numpy(codebook().T.copy()).float()
    return torch.cat([c / 2, c.abs() / 2, c.square() / 8])


def brute_force_gradient(params: Tensor, book: Tensor) -> None:
    params = params.detach().requires_grad_()
    (params.flatten(1) @ book).logsumexp(1).sum().backward()


def forward_and_backward(scores: Tensor) -> None:
    """The training form: values and gradient by the score tables."""
    scores.grad = None
    torch_kernels.log_partition(scores).sum().backward()


def compared(name: str, ours: float, peer_name: str, peer: float) -> Row:
    return Row(name, round(ours, 2), peer_name, round(peer, 1), round(peer / ours))


def microseconds(function: Callable, inputs: tuple, repeats: int, tokens: int | None = None) -> float:
    """Best processor time of a call in microseconds per token, after one call that is not counted."""
    function(*inputs)
    best = float("inf")
    for _ in range(repeats):
        start = time.thread_time()
        function(*inputs)
        best = min(best, time.thread_time() - start)
    return best * 1e6 / (tokens or len(inputs[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    rows = measure(arguments.tokens, arguments.repeats)
    versions = {"numba": numba.__version__, "torch": torch.__version__, "python": platform.python_version()}
    if arguments.json:
        print(json.dumps({"unit": "us/token", "versions": versions, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    print(f"{'microseconds per token, one thread':36}{'ours':>8}{'peer':>10}{'ratio':>8}  peer")
    for row in rows:
        peer = "" if row.peer is None else f"{row.peer:10.1f}{row.ratio:8}  {row.peer_name}"
        print(f"{row.name:36}{row.ours:8.2f}{peer}")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
