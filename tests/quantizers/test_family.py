"""What holds for every quantizer, and the geometry of each against theory."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.errors import ConfigError, ModelError, QuantizerError
from leechcodec.quantizers import FSQ, ShellSQ, make_quantizer
from leechcodec.quantizers.directions import fibonacci_directions
from tests.families import SMALL, all_codes, quantizer_of, some_codes

LISTED = (
    "bsq-12",
    "lfq-6",
    "fsq-8x5x3",
    "rpq-6-6",
    "fibonacci-5-6",
    "d4",
    "d4x2",
    "e8",
    "vq-6-6",
    "simvq-6-6",
    "lgq-6-6",
)
"""Families whose codes can all be written down quickly."""


@pytest.mark.parametrize("name", SMALL)
def test_codes_vectors_and_indices_are_each_others_inverse(name):
    quantizer = quantizer_of(name)

    @settings(max_examples=8)
    @given(st.integers(0, 2**32), st.integers(1, 40))
    def check(seed, count):
        codes = some_codes(quantizer, count, seed)
        assert codes.dtype == torch.int8 and codes.abs().max() <= quantizer.max_entry
        assert torch.equal(quantizer.vectors_to_codes(quantizer.codes_to_vectors(codes)), codes)
        indices = quantizer.codes_to_indices(codes)
        assert indices.shape == (count,) and indices.min() >= 0 and indices.max() < quantizer.size
        assert torch.equal(quantizer.indices_to_codes(indices), codes)
        shaped = indices.reshape(1, count, 1)
        assert torch.equal(quantizer.indices_to_codes(shaped), codes.reshape(1, count, 1, -1))
        assert torch.equal(quantizer.codes_to_indices(codes.reshape(1, count, 1, -1)), shaped)

    check()
    assert quantizer.name == name and quantizer.bits == pytest.approx(math.log2(quantizer.size))
    with pytest.raises(ValueError, match="out of range"):
        quantizer.indices_to_codes(torch.tensor([quantizer.size]))


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ("leech", "leech-ball")])
def test_indices_number_every_code_once(name):
    quantizer = quantizer_of(name)
    indices = torch.randint(quantizer.size, (300,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(quantizer.codes_to_indices(quantizer.indices_to_codes(indices)), indices)


@pytest.mark.parametrize("name", SMALL)
def test_codes_may_be_views_that_run_backwards_or_read_only(name):
    quantizer = quantizer_of(name)
    codes = some_codes(quantizer, 6).numpy()
    numbers = quantizer.numbers_of(codes)
    assert np.array_equal(quantizer.numbers_of(codes[::-1]), numbers[::-1])
    assert np.array_equal(quantizer.codes_of(numbers[::-1]), codes[::-1])
    codes.setflags(write=False)
    numbers.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(quantizer.numbers_of(codes), numbers)
        assert np.array_equal(quantizer.codes_of(numbers), codes)


def test_codes_come_back_from_the_device_of_the_codebook():
    with pytest.raises(NotImplementedError, match="meta"):  # it has none to give, and is asked for them
        quantizer_of("e8").to("meta").codes_of(np.array([1]))


@pytest.mark.parametrize("name", SMALL)
def test_quantize_is_straight_through_and_never_fails(name):
    quantizer = quantizer_of(name)
    z = torch.randn(30, quantizer.dim)
    z[3], z[4], z[5] = 0.0, float("nan"), float("inf")
    z.requires_grad_()
    codes, value = quantizer.quantize(z, check=False)
    assert codes.dtype == torch.int8 and torch.equal(value.detach(), codes.float())
    weight = torch.randn_like(value)
    (gradient,) = torch.autograd.grad((value * weight)[:3].sum(), z)
    (expected,) = torch.autograd.grad((quantizer.project(z) * weight)[:3].sum(), z)
    if name != "lgq-6-6":  # whose value goes back to all codewords
        assert torch.allclose(gradient[:3], expected[:3], atol=1e-5)
    assert gradient[:3].isfinite().all() and gradient[:3].abs().max() > 0


@pytest.mark.parametrize("name", SMALL)
def test_codes_are_quantized_to_themselves(name):
    quantizer = quantizer_of(name)
    codes = some_codes(quantizer, 50)
    assert torch.equal(quantizer.nearest(codes[codes.any(1)].float()), codes[codes.any(1)])
    if quantizer.spherical or name == "leech-ball":
        assert torch.equal(quantizer.quantize(codes.float())[0], codes)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_not_of_the_quantizer_is_refused_by_name(name):
    quantizer = quantizer_of(name)
    z, codes = torch.randn(4, quantizer.dim), some_codes(quantizer, 4)
    for wrong in (z[:, 1:], torch.cat([z, z], 1), z[0, 0]):
        with pytest.raises(QuantizerError, match=f"{name} quantizes {quantizer.dim} dimensions, got shape"):
            quantizer.quantize(wrong)
        with pytest.raises(QuantizerError, match="dimensions"):
            quantizer.vectors_to_codes(wrong)
    for value in (math.nan, math.inf):
        bad = torch.where(torch.arange(quantizer.dim) == 1, value, z)
        for method in (quantizer.quantize, quantizer.vectors_to_codes):
            with pytest.raises(QuantizerError, match=f"{name} was given a vector that is not finite"):
                method(bad)
    with pytest.raises(QuantizerError, match=f"{name} was given a vector beyond 1e"):
        quantizer.vectors_to_codes(torch.full_like(z, 3e38))
    for vectors in (torch.zeros_like(z), torch.full_like(z, 1e15), z * 1e14):
        quantizer.codes_to_indices(quantizer.vectors_to_codes(vectors))
    for method in (quantizer.codes_to_vectors, quantizer.codes_to_indices):
        for wrong in (codes[:, 1:], torch.cat([codes, codes], 1), codes[0, 0]):
            with pytest.raises(QuantizerError, match=f"{name} has codes of {quantizer.dim} dimensions"):
                method(wrong)
        with pytest.raises(QuantizerError, match=f"{name} has codes of integers within"):
            method(codes.float())
        with pytest.raises(QuantizerError, match=f"{name} has codes of integers within"):
            method(torch.full_like(codes, -128))
    for index in (-1, quantizer.size):
        with pytest.raises(QuantizerError, match="index out of range"):
            quantizer.indices_to_codes(torch.tensor([index]))


@pytest.mark.parametrize("name", [*LISTED, "bw16", "round-2"])
def test_the_nearest_code_is_the_nearest_and_the_runner_up_the_next(name):
    quantizer = quantizer_of(name)
    book = all_codes(quantizer).float()
    u = quantizer.project(torch.randn(50, quantizer.dim) * quantizer.initial_spread)
    order = torch.cdist(u.double(), book.double()).argsort(1)
    nearest = quantizer.nearest(u)
    found = (u.double() - nearest.double()).norm(dim=1)
    assert torch.allclose(found, (u.double() - book[order[:, 0]].double()).norm(dim=1), atol=1e-4)
    second = quantizer.runner_up(u, nearest)
    assert (second != nearest).any(1).all()
    found = (u.double() - second.double()).norm(dim=1)
    assert torch.allclose(found, (u.double() - book[order[:, 1]].double()).norm(dim=1), atol=1e-4)
    assert torch.equal(quantizer.runner_up(u, book[order[:, 2]].to(torch.int8)), nearest)


@pytest.mark.parametrize("name", [*LISTED, "bw16", "round-2"])
def test_probabilities_sum_to_one(name):
    quantizer = quantizer_of(name)
    book = all_codes(quantizer).float()
    params = torch.randn(1, quantizer.dim, quantizer.params_per_coordinate).expand(len(book), -1, -1)
    bits = quantizer.bits_of(params, book)
    assert torch.exp2(-bits.double()).sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_the_rate_has_a_gradient_for_prior_and_encoder(name):
    quantizer = quantizer_of(name)
    params = torch.randn(5, quantizer.dim, quantizer.params_per_coordinate, requires_grad=True)
    codes = some_codes(quantizer, 5).float().requires_grad_()
    quantizer.bits_of(params, codes).sum().backward()
    assert params.grad.isfinite().all() and params.grad.abs().max() > 0
    assert codes.grad.isfinite().all() and codes.grad.abs().max() > 0


# --- geometry --------------------------------------------------------------------------------------------------


def smallest_distance(book: torch.Tensor) -> float:
    """Over all pairs, at a root mean square length of 1: the slow way."""
    vectors = book.double() / book.double().square().sum(1).mean().sqrt()
    return torch.pdist(vectors).min().item()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LISTED, "bw16", "d4x2", "fsq-4x3x3x5", "lfq-8", "fibonacci-3-8", "rpq-12-8"])
def test_delta_min_is_that_of_all_pairs(name):
    quantizer = quantizer_of(name)
    vectors = quantizer.codes_to_vectors(all_codes(quantizer))
    assert quantizer.delta_min == pytest.approx(smallest_distance(vectors), rel=1e-5)


@pytest.mark.slow
def test_delta_min_is_in_the_papers_order():
    """Λ24-SQ before signs, and at 2^12 vectors in 12 dimensions Fibonacci's before random ones."""
    assert make_quantizer("leech").delta_min > 2 * make_quantizer("bsq-18").delta_min
    assert make_quantizer("fibonacci-12-12").delta_min > quantizer_of("rpq-12-12").delta_min


def test_delta_min_is_what_theory_says():
    assert make_quantizer("leech").delta_min == 1
    assert make_quantizer("bsq-18").delta_min == 2 / math.sqrt(18)
    assert make_quantizer("lfq-18").delta_min == 2 / math.sqrt(18)
    assert [make_quantizer(name).delta_min for name in ("d4", "e8", "bw16")] == [1, 1, 1]
    assert make_quantizer("d4x4").delta_min == 0.5 and make_quantizer("round-3").delta_min is None


@pytest.mark.parametrize("name, size, cosines", [
    ("d4", 24, {-1: 1, -0.5: 8, 0: 6, 0.5: 8, 1: 1}),
    ("e8", 240, {-1: 1, -0.5: 56, 0: 126, 0.5: 56, 1: 1}),
    ("bw16", 4320, {-1: 1, -0.5: 280, -0.25: 1024, 0: 1710, 0.25: 1024, 0.5: 280, 1: 1}),
])  # fmt: skip
def test_shells_have_the_inner_products_of_their_lattices(name, size, cosines):
    """The same from every vector."""
    book = all_codes(make_quantizer(name)).long()
    norm = int(book[0].square().sum())
    assert len(book) == size and (book.square().sum(1) == norm).all()
    for row in book[:: size // 8]:
        values, counts = (book @ row).unique(return_counts=True)
        assert dict(zip((values / norm).tolist(), counts.tolist())) == cosines


@pytest.mark.parametrize("name", ["d4", "e8", "bsq-5", "d4x2"])
def test_no_direction_is_farther_than_the_covering_cosine(name):
    quantizer = make_quantizer(name)
    u = quantizer.project(torch.randn(20_000, quantizer.dim, generator=torch.Generator().manual_seed(0)))
    cosine = (u * quantizer.nearest(u)).sum(1) / quantizer.norm_squared
    assert cosine.min() >= quantizer.covering_cosine - 1e-6
    hole = torch.zeros(1, quantizer.dim)  # a centre of a cross-polytope, or for signs an axis
    hole[0, 0] = 1
    if name.startswith("d4"):  # an axis is the centre of an octahedron of the 24-cell too
        assert quantizer.covering_cosine == pytest.approx(0.5 if name == "d4x2" else 0.5**0.5)
    found = (quantizer.project(hole) * quantizer.nearest(hole)).sum() / quantizer.norm_squared
    assert found.item() == pytest.approx(quantizer.covering_cosine, rel=1e-5)


def test_a_fibonacci_lattice_of_dimension_3_is_the_usual_one_and_all_are_even():
    i, golden = np.arange(64), (1 + 5**0.5) / 2
    height = 1 - 2 * (i + 0.5) / 64
    radius = np.sqrt(1 - height**2)
    around = 2 * np.pi * i / golden
    expected = np.stack([height, radius * np.cos(around), radius * np.sin(around)], axis=1)
    assert np.allclose(fibonacci_directions(3, 6), expected, atol=1e-9)
    for dim in (2, 5, 12):
        points = fibonacci_directions(dim, 12)
        assert np.allclose(np.linalg.norm(points, axis=1), 1) and np.abs(points.mean(0)).max() < 0.02
        assert np.allclose(points.T @ points / len(points), np.eye(dim) / dim, atol=0.1 / dim)


def test_fsq_levels_are_all_attained_and_zero_is_the_middle_of_one():
    quantizer = FSQ([8, 5, 3, 4])
    z = torch.linspace(-8, 8, 4001)[:, None].expand(-1, 4)
    codes, _ = quantizer.quantize(z)
    for i, levels in enumerate(quantizer.levels):
        assert codes[:, i].unique().tolist() == list(range(-(levels // 2), (levels + 1) // 2))
        zeros = z[codes[:, i] == 0, i]
        assert zeros.min() < 0 < zeros.max()


def test_the_rate_of_rounding_pulls_to_zero_which_is_a_code_and_not_to_a_boundary():
    quantizer = quantizer_of("round-6")
    codes = torch.randint(-4, 5, (200, 6)).float().requires_grad_()
    quantizer.bits_of(-3 * torch.rand(200, 6, 1), codes).sum().backward()
    assert torch.equal(codes.grad.sign(), codes.detach().sign())


# --- names -----------------------------------------------------------------------------------------------------


NO_NAMES = (
    "fsq-", "fsq-8x2", "d4x", "d4x0", "d5", "rpq-12", "vq-12-0", "vq-0-4", "lgq-4", "bsq-٣", "round-", "e8x17",
    "vq-12-17", "fibonacci-1-4", "Leech", "vq-65-4", "fsq-8x02",
)  # fmt: skip


@pytest.mark.parametrize(
    "name, message",
    [
        ("bsq-0", "BSQ needs a dimension of at least 1, got 0"),
        ("fsq-8x1", r"FSQ needs 3 to 255 levels a coordinate .*\[8, 1\]"),
        ("fsq-0", "FSQ needs 3 to 255 levels"),
        ("d4x0", "no product of 0 shells"),
        ("vq-12-0", "from 1 to 16 bits, got 12 and 0"),
        ("bsc-18", "unknown quantizer 'bsc-18': expected leech"),
    ],
)
def test_sizes_that_do_not_fit_are_named(name, message):
    with pytest.raises(ConfigError, match=message):
        make_quantizer(name)


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_are_none(name):
    with pytest.raises(ConfigError):
        make_quantizer(name)


def test_directions_too_close_for_the_grid_are_refused():
    with pytest.raises(ConfigError, match="same integer vector"):
        make_quantizer("fibonacci-2-12")


def test_a_codebook_that_does_not_fit_is_refused():
    quantizer = quantizer_of("vq-6-6")
    good = quantizer.frozen()["codebook"]
    for bad in ({}, {"codebook": good[:5]}, {"codebook": good.astype(np.int16)}, {"codebook": good, "more": good}):
        with pytest.raises(ModelError, match="codebook"):
            quantizer.load_frozen(bad)
    with pytest.raises(ModelError, match="no tensor"):
        ShellSQ("d4").load_frozen({"codebook": good})
    other = quantizer_of("vq-6-6", seed=1)
    other.load_frozen(quantizer.frozen())
    assert np.array_equal(other.frozen()["codebook"], good)
