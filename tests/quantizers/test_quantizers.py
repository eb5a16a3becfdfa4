import numpy as np
import pytest
import torch

from leechcodec import quantizers
from leechcodec.errors import ConfigError
from leechcodec.lattice import leech, torch_kernels
from leechcodec.quantizers import make_quantizer
from leechcodec.quantizers.table import rows_to_indices

NAMES = ["leech", "leech-ball", "bsq-1", "bsq-18", "bsq-24"]


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_gradient(name):
    quantizer = make_quantizer(name)
    assert quantizer.name == name
    z = torch.randn(40, quantizer.dim, requires_grad=True)
    codes, value = quantizer.quantize(z)
    assert codes.dtype == torch.int8 and torch.allclose(codes.float(), value.detach(), atol=1e-5)
    norms = codes.float().square().sum(-1)
    assert ((norms == quantizer.norm_squared) | (norms == 0)).all()
    if quantizer.dim > 1:
        (gradient,) = torch.autograd.grad((value * torch.randn_like(value)).sum(), z)
        assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_what_is_kept_from_inference_serves_gradients():
    quantizer, params = make_quantizer("leech-ball"), torch.randn(3, 24, 3)
    quantizers.leech._basis.cache_clear()
    torch_kernels._structure_on.cache_clear()
    with torch.inference_mode():
        expected = quantizer.log_partition(params)
        torch_kernels.nearest_torch(torch.randn(3, 24))
    params = params.clone().requires_grad_()
    found = quantizer.log_partition(params)
    assert torch.equal(found, expected)
    plain = torch.nn.functional.softplus(torch_kernels.log_partition_torch(quantizer.score_table(params)))
    for mine, other in zip(torch.autograd.grad(found.sum(), params), torch.autograd.grad(plain.sum(), params)):
        assert torch.allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize("name", ["leech", "leech-ball", "fsq-3x3"])
def test_what_is_kept_does_not_depend_on_the_callers_default_type(name):
    quantizer = make_quantizer(name)
    params = torch.randn(5, quantizer.dim, 3)
    expected = quantizer.log_partition(params)
    quantizers.leech._basis.cache_clear()
    torch_kernels._structure_on.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        found = quantizer.log_partition(params)
        torch_kernels.nearest_torch(torch.ones(3, 24, dtype=torch.float32))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    assert torch.equal(quantizer.log_partition(params), expected)


@pytest.mark.parametrize("name", NAMES)
def test_quantizing_a_code_gives_it_back(name):
    quantizer = make_quantizer(name)
    codes, _ = quantizer.quantize(torch.randn(40, quantizer.dim) * 6)
    again, _ = quantizer.quantize(codes.float())
    assert torch.equal(codes, again)


@pytest.mark.parametrize("name", ["leech", "leech-ball", "bsq-10"])
def test_runner_up_is_the_nearest_other_code(name):
    quantizer = make_quantizer(name)
    if name == "bsq-10":
        book = torch.from_numpy(np.stack(np.meshgrid(*[[-1, 1]] * 10), -1).reshape(-1, 10)).float()
    else:
        book = torch.from_numpy(leech.codebook().copy()).float()
    if quantizer.origin:
        book = torch.cat([book, torch.zeros(1, 24)])
    z = torch.randn(12, quantizer.dim)
    z = z / z.norm(dim=1, keepdim=True) * torch.linspace(0.3, 1.0, 12)[:, None] * quantizer.norm_squared**0.5
    distances = book.square().sum(1) - 2 * z @ book.T
    first, second = distances.topk(2, largest=False).values.T
    nearest = quantizer.nearest(z)
    other = quantizer.runner_up(z, nearest)

    def distance(codes):
        return (codes.float().square() - 2 * z * codes).sum(1)

    assert distance(nearest) == pytest.approx(first, abs=1e-4)
    assert distance(other) == pytest.approx(second, abs=1e-4)
    assert (nearest != other).any(1).all()
    assert quantizer.origin == (not nearest.any(1).all())
    on_the_way = 0.7 * book[:1]  # to a codeword: here the origin, where there is one, comes before all other codewords
    assert quantizer.origin == (not quantizer.runner_up(on_the_way, book[:1].to(torch.int8)).any())
    far = -quantizer.nearest(z / z.norm(dim=1, keepdim=True) * quantizer.norm_squared**0.5)
    assert torch.equal(quantizer.runner_up(z, far), nearest)
    assert torch.equal(quantizer.vectors_to_codes(z / quantizer.unit), nearest)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_zero_and_non_finite_vectors_map_to_a_fixed_code(name, bad):
    quantizer = make_quantizer(name)
    z = torch.randn(3, quantizer.dim)
    z[1] = bad
    codes, value = quantizer.quantize(z, check=False)
    assert value.isfinite().all()
    assert torch.equal(codes[1], quantizer.quantize(torch.zeros(1, quantizer.dim))[0][0])


@pytest.mark.parametrize("name", ["leech", "leech-ball"])
def test_probabilities_of_the_codebook_sum_to_one(name):
    quantizer = make_quantizer(name)
    torch.manual_seed(0)
    params = torch.randn(1, 24, 3)
    book = torch.from_numpy(leech.codebook().copy()).float()
    if name == "leech-ball":
        book = torch.cat([book, torch.zeros(1, 24)])
    bits = quantizer.bits_of(params.expand(1, -1, -1), book[:1]) - (
        quantizer.score(params, book) - quantizer.score(params, book[:1])
    ) / np.log(2)
    assert torch.exp2(-bits.double()).sum() == pytest.approx(1, abs=1e-3)


def test_what_a_penalty_on_log_z_moves():
    """Λ24-SQ's codewords have one length: d, the same in every coordinate, adds a constant to all scores, so log Z is
    free to be anything at equal probabilities. With the origin, whose score is 0, it is that code's own rate."""
    torch.manual_seed(0)
    params, codes = torch.randn(4, 24, 3), torch.from_numpy(leech.codebook()[:4].copy()).float()
    higher = params + torch.tensor([0.0, 0.0, 0.5])
    bits, log_z = make_quantizer("leech").bits_and_log_partition(params, codes)
    same, shifted = make_quantizer("leech").bits_and_log_partition(higher, codes)
    assert torch.allclose(bits, same, atol=1e-3) and torch.allclose(
        shifted - log_z, torch.tensor(32 / 8 * 0.5), atol=1e-4
    )
    ball = make_quantizer("leech-ball")
    assert torch.equal(bits, make_quantizer("leech").bits_of(params, codes))
    silent, total = ball.bits_and_log_partition(params, torch.zeros(4, 24))
    assert torch.allclose(total, silent * np.log(2), rtol=1e-6)


def test_probabilities_of_signs_sum_to_one():
    quantizer = make_quantizer("bsq-4")
    book = 2.0 * (torch.arange(16)[:, None] >> torch.arange(4) & 1) - 1
    params = torch.randn(1, 4, 1).expand(16, -1, -1)
    assert torch.exp2(-quantizer.bits_of(params, book)).sum() == pytest.approx(1, abs=1e-5)


def test_the_ball_chooses_the_origin_just_where_it_is_nearest():
    quantizer = make_quantizer("leech-ball")
    v = torch.randn(500, 24)
    v = v / v.norm(dim=1, keepdim=True) * torch.rand(500, 1) * 32**0.5
    codes, _ = quantizer.quantize(v)
    distance = (v - codes).square().sum(1)
    shell = make_quantizer("leech").nearest(v)
    expected = torch.minimum(v.square().sum(1), (v - shell).square().sum(1))
    assert torch.allclose(distance, expected, atol=1e-4)
    assert 0 < (codes == 0).all(1).sum() < 500


@pytest.mark.parametrize("name", ["", "leach", "bsq-x", "bsq"])
def test_unknown_names(name):
    with pytest.raises(ConfigError, match="unknown quantizer"):
        make_quantizer(name)


def test_entropy_penalty_of_bsq_rewards_sure_bits_that_differ():
    quantizer = make_quantizer("bsq-8")
    signs = torch.where(torch.rand(4000, 8, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)
    best = quantizer.entropy_loss(signs)
    p = 1 / (1 + np.exp(-4 / 8))  # of a sure bit: u = ±1 / sqrt(8), 4 u / sqrt(8)
    sure = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert best.item() == pytest.approx(8 * (sure - np.log(2)), rel=2e-2)  # every bit sure, every code in use
    assert quantizer.entropy_loss(torch.ones(50, 8)).item() == pytest.approx(0, abs=1e-5)  # one code alone
    sharp = make_quantizer("lfq-8").entropy_loss(signs)
    assert sharp.item() == pytest.approx(-8 * np.log(2), rel=1e-2)
    assert quantizer.entropy_loss(signs * torch.tensor([1e-3] + [1] * 7)) > best  # a bit that hesitates
    assert make_quantizer("leech").entropy_loss(torch.randn(5, 24)) == 0


def test_entropy_penalty_spreads_a_collapsed_bit():
    z = (torch.randn(500, 6, generator=torch.Generator().manual_seed(2)) * 0.1 + 0.3).requires_grad_()
    make_quantizer("bsq-6").entropy_loss(z).backward()
    u = z / z.norm(dim=1, keepdim=True)
    mean = torch.autograd.grad(torch.sigmoid(u * 4 / 6**0.5).mean(), z)[0]
    assert (z.grad * mean).sum() > 0  # a step down the gradient lowers the share of ones


def test_rows_are_found_in_their_table():
    table = np.array([[1, 0], [0, 1], [-1, 0], [1, 0]], dtype=np.int8)
    assert rows_to_indices(table, table[[2, 0, 3]]).tolist() == [2, 0, 0]
    for strange in ([[1, 1]], [[257, 0]]):
        with pytest.raises(ValueError, match="not in the codebook"):
            rows_to_indices(table, np.array(strange))
