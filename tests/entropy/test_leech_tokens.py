"""The code of Leech and sign tokens: round trips, the specified bytes, lengths near the ideal, and damage."""

import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leechcodec.entropy import leech_masses, leech_tokens, token_coder
from leechcodec.entropy.bit_counter import BitCounter
from leechcodec.entropy.leech_tokens import code_leech_tokens
from leechcodec.entropy.pmf import FIRST_SYMBOL_CAP, TOTAL, integer_pmf
from leechcodec.entropy.range_coder import TokenDecoder, TokenEncoder
from leechcodec.entropy.sign_tokens import code_sign_tokens
from leechcodec.errors import CorruptError, LqError
from leechcodec.lattice import leech
from leechcodec.testing import entropy_reference
from leechcodec.testing.constriction_coder import ConstrictionDecoder, ConstrictionEncoder
from tests.places import ROOT


def random_case(seed: int, count: int, scale: float = 60) -> tuple[np.ndarray, np.ndarray]:
    """Params and uniform codewords, classes 1, 2 and 3 alike."""
    rng = np.random.default_rng(seed)
    bounds = [0, leech.OFFSET_2, leech.OFFSET_3, leech.SIZE]
    kind = rng.integers(0, 3, count)
    index = rng.integers(np.take(bounds, kind), np.take(bounds, kind + 1))
    return rng.normal(0, scale, (count, 24, 3)).astype(np.int64), leech.index_to_vector(index)


def random_signs(seed: int, count: int, dim: int, scale: float = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (count, dim)).astype(np.int64), rng.choice(np.array([-1, 1], np.int8), (count, dim))


def encoded(code, params: np.ndarray, tokens: np.ndarray) -> bytes:
    encoder = TokenEncoder()
    assert np.array_equal(code(encoder, params, tokens), tokens)
    return encoder.to_bytes()


def decoded(code, params: np.ndarray, data: bytes) -> np.ndarray:
    decoder = TokenDecoder(data)
    tokens = code(decoder, params)
    decoder.finish()
    return tokens


def assert_round_trip(code, params: np.ndarray, tokens: np.ndarray) -> None:
    data = encoded(code, params, tokens)
    assert np.array_equal(decoded(code, params, data), tokens)
    counter = BitCounter()
    code(counter, params, tokens)
    assert -1e-6 <= 8 * len(data) - counter.bits <= 64
    assert counter.bits >= len(tokens) * token_coder.MIN_BITS_PER_TOKEN


# --- round trips -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0, 8, 60, 400, 1e8])
@pytest.mark.parametrize("count", [0, 1, 3, 2 * token_coder.GROUP + 100])
def test_leech_tokens_round_trip(count: int, scale: float):
    assert_round_trip(code_leech_tokens, *random_case(count, count, scale))


def test_every_codeword_of_class_1_and_every_octad_and_word_round_trips():
    rng = np.random.default_rng(5)
    two = leech.OFFSET_2 + 128 * np.arange(759) + rng.integers(0, 128, 759)
    three = leech.OFFSET_3 + 24 * np.arange(4096) + rng.integers(0, 24, 4096)
    tokens = leech.index_to_vector(rng.permutation(np.concatenate([np.arange(leech.OFFSET_2), two, three])))
    params = np.zeros((len(tokens), 24, 3), dtype=np.int32)
    data = encoded(code_leech_tokens, params, tokens)
    assert np.array_equal(decoded(code_leech_tokens, params, data), tokens)


def pointed_params(tokens: np.ndarray, strength: int) -> np.ndarray:
    """Scores whose highest point is at each token's own entries (lowest, for a negative strength)."""
    params = np.zeros((len(tokens), 24, 3), dtype=np.int64)
    params[:, :, 0] = strength * tokens.astype(np.int64)
    params[:, :, 2] = -2 * strength
    return params


@pytest.mark.parametrize("strength", [600, 10**6, -600, -(10**6)])
def test_certain_and_hopeless_tokens_round_trip(strength: int):
    _, tokens = random_case(9, 64)
    assert_round_trip(code_leech_tokens, pointed_params(tokens, strength), tokens)


def test_a_certain_token_costs_the_bound_and_no_more():
    tokens = leech.codebook()[[0, 5000, 150_000]]
    bits = leech_tokens.leech_token_bits(pointed_params(tokens, 600), tokens)
    assert (bits >= token_coder.MIN_BITS_PER_TOKEN).all()
    assert (bits < token_coder.MIN_BITS_PER_TOKEN + 0.001).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 20), st.sampled_from([0, 5, 40, 300, 5000]))
def test_any_leech_tokens_round_trip(seed: int, count: int, scale: int):
    assert_round_trip(code_leech_tokens, *random_case(seed, count, scale))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_masses_computed_ahead_do_not_change_the_stream(monkeypatch, threads):
    monkeypatch.setattr(leech_tokens, "GROUP", 37)
    params, tokens = random_case(4, 300, 60)
    ahead = partial(code_leech_tokens, threads=threads)
    data = encoded(ahead, params, tokens)
    assert data == encoded(code_leech_tokens, params, tokens)
    assert np.array_equal(decoded(ahead, params, data), tokens)
    with pytest.raises(CorruptError):
        decoded(ahead, params, data[: len(data) // 8 * 4])


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(1, 40), st.sampled_from([0, 40, 5000]))
def test_any_sign_tokens_round_trip(seed: int, count: int, dim: int, scale: int):
    assert_round_trip(code_sign_tokens, *random_signs(seed, count, dim, scale))


def test_sign_tokens_round_trip_over_several_groups():
    assert_round_trip(code_sign_tokens, *random_signs(3, 2 * token_coder.GROUP + 7, 18))


def test_several_calls_share_one_stream():
    parts = [random_case(seed, 30) for seed in (1, 2)]
    params, signs = random_signs(3, 40, 5)
    encoder = TokenEncoder()
    for part in parts:
        code_leech_tokens(encoder, *part)
    code_sign_tokens(encoder, params, signs)
    decoder = TokenDecoder(encoder.to_bytes())
    for part in parts:
        assert np.array_equal(code_leech_tokens(decoder, part[0]), part[1])
    assert np.array_equal(code_sign_tokens(decoder, params), signs)
    decoder.finish()


# --- the specification -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_leech_streams_are_those_of_the_specification():
    for seed, scale in ((1, 30), (2, 300), (3, 4000)):
        params, tokens = random_case(seed, 60, scale)
        assert encoded(code_leech_tokens, params, tokens) == entropy_reference.leech_stream(params, tokens)


def test_groups_follow_the_specification():
    params, tokens = random_case(4, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leech_tokens, "GROUP", 5)
        assert encoded(code_leech_tokens, params, tokens) == entropy_reference.leech_stream(params, tokens, group=5)
    assert token_coder.GROUP == 1024


def test_sign_streams_are_those_of_the_specification():
    params, tokens = random_signs(1, 20, 7, 800)
    symbols = []
    for row, token in zip(params.tolist(), tokens.tolist()):
        for k, (f, sign) in enumerate(zip(row, token)):
            masses = [entropy_reference.exponential(min(max(f, -1600), 1600)), 1.0]
            cap = entropy_reference.CAP if k == 0 else TOTAL
            symbols.append((int(sign < 0), entropy_reference.integer_pmf(masses, cap)))
    assert encoded(code_sign_tokens, params, tokens) == entropy_reference.stream(symbols)


@pytest.mark.parametrize("origin", [False, True])
@pytest.mark.parametrize("scale", [0, 15, 60, 400, 1e8])
def test_the_compiled_and_the_plain_way_agree(scale: float, origin: bool):
    """The kernel with our range coder, the numpy sweeps with constriction's, both ways."""
    params, tokens = random_case(21, 700, scale)
    if origin:
        tokens[::5] = 0
    code = partial(code_leech_tokens, origin=origin)
    plain = ConstrictionEncoder()
    code(plain, params, tokens)
    data = encoded(code, params, tokens)
    assert data == plain.to_bytes()
    assert np.array_equal(decoded(code, params, plain.to_bytes()), tokens)
    assert np.array_equal(code(ConstrictionDecoder(data), params), tokens)


def test_tokens_of_one_class_alone_agree_too():
    params, tokens = random_case(22, 900)
    largest = np.abs(tokens).max(axis=1)
    for value in (2, 3, 4):
        rows = largest == value
        plain = ConstrictionEncoder()
        code_leech_tokens(plain, params[rows], tokens[rows])
        assert encoded(code_leech_tokens, params[rows], tokens[rows]) == plain.to_bytes()


@pytest.mark.slow
def test_streams_without_the_compiler_are_the_same(tmp_path: Path):
    params, tokens = random_case(6, 4)
    np.savez(tmp_path / "case.npz", params=params, tokens=tokens)
    script = (
        "import sys, numpy as np; from leechcodec.entropy import leech_tokens, range_coder; "
        "case, encoder = np.load(sys.argv[1]), range_coder.TokenEncoder(); "
        "leech_tokens.code_leech_tokens(encoder, case['params'], case['tokens']); "
        "print(encoder.to_bytes().hex())"
    )
    root = str(ROOT)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": root}
    command = [sys.executable, "-c", script, str(tmp_path / "case.npz")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == encoded(code_leech_tokens, params, tokens).hex()


# --- lengths ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_code_length_is_the_cross_entropy_over_the_whole_codebook():
    """Tokens drawn from the prior itself, against log-sum-exp over 196,560 rows."""
    rng = np.random.default_rng(7)
    params = rng.normal(0, 25, (60, 24, 3)).astype(np.int64)
    log_e = np.log(leech_masses.coordinate_masses(params))
    columns = leech.codebook().astype(np.int64) + 4
    exact, tokens = [], []
    for token in log_e:
        scores = sum(token[i][columns[:, i]] for i in range(24))
        log_p = scores - scores.max()
        log_p -= np.log(np.exp(log_p).sum())
        tokens.append(leech.codebook()[np.searchsorted(np.exp(log_p).cumsum(), rng.random() * 0.999999)])
        exact.append(-log_p[leech.vector_to_index(tokens[-1])] / math.log(2))
    bits = leech_tokens.leech_token_bits(params, np.array(tokens))
    assert bits.sum() == pytest.approx(sum(exact), rel=1e-3)
    assert bits == pytest.approx(np.array(exact), rel=1e-2)


def test_flat_params_cost_the_uniform_code():
    _, tokens = random_case(8, 300)
    bits = leech_tokens.leech_token_bits(np.zeros((300, 24, 3), dtype=np.int32), tokens)
    assert bits == pytest.approx(math.log2(leech.SIZE), rel=1e-3)


def test_token_bits_add_up():
    params, tokens = random_case(10, token_coder.GROUP + 50)
    counter = BitCounter()
    assert np.array_equal(code_leech_tokens(counter, params, tokens), tokens)
    assert leech_tokens.leech_token_bits(params, tokens).sum() == pytest.approx(counter.bits)
    assert leech_tokens.leech_token_bits(params[:0], tokens[:0]).shape == (0,)


def test_no_first_symbol_is_likelier_than_the_cap():
    assert pytest.approx(-math.log2(1 - 2**-8)) == token_coder.MIN_BITS_PER_TOKEN
    counter = BitCounter(2)
    code_sign_tokens(counter, np.full((2, 3), 10**6), np.ones((2, 3), dtype=np.int8))
    assert counter.token_bits == pytest.approx(token_coder.MIN_BITS_PER_TOKEN, rel=1e-3)
    assert FIRST_SYMBOL_CAP / TOTAL == 1 - 2**-8


# --- damage ----------------------------------------------------------------------------------------------------


def test_a_stream_must_be_whole_words():
    with pytest.raises(CorruptError):
        TokenDecoder(b"12345")


@pytest.mark.parametrize("kind", ["longer", "zeros", "shorter", "empty"])
def test_a_stream_of_another_length_is_refused(kind: str):
    params, tokens = random_case(11, 200)
    data = encoded(code_leech_tokens, params, tokens)
    data = {"longer": data + b"\1\2\3\4", "zeros": data + bytes(4), "shorter": data[:-4], "empty": b""}[kind]
    with pytest.raises(CorruptError):
        decoded(code_leech_tokens, params, data)


def test_a_token_too_few_is_noticed():
    params, tokens = random_case(12, 50)
    data = encoded(code_leech_tokens, params, tokens)
    with pytest.raises(CorruptError):
        decoded(code_leech_tokens, params[:-4], data)


def test_many_tokens_from_few_bytes_stop_early():
    with pytest.raises(CorruptError, match="ends before"):
        code_leech_tokens(TokenDecoder(bytes(8)), np.zeros((200_000, 24, 3), dtype=np.int8))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([5, 60, 5000]), st.binary(max_size=200))
def test_damaged_streams_give_valid_tokens_or_an_lq_error(seed: int, scale: int, noise: bytes):
    params, tokens = random_case(seed, 25, scale)
    data = bytearray(encoded(code_leech_tokens, params, tokens))
    if seed % 3 == 0:
        data = bytearray(noise)
    elif seed % 3 == 1 and noise:
        data[seed % len(data)] ^= noise[0] | 1
    else:
        del data[seed % len(data) & ~3 :]
    try:
        read = decoded(code_leech_tokens, params, bytes(data))
    except LqError:
        return
    assert read.dtype == np.int8 and leech.vector_to_index(read).shape == (25,)


def test_damage_seen_before_the_end_still_yields_codewords():
    rng = np.random.default_rng(13)
    params, _ = random_case(13, 100)
    for _ in range(20):
        try:
            read = code_leech_tokens(TokenDecoder(rng.bytes(400)), params)
        except LqError:
            continue
        leech.vector_to_index(read)


# --- arguments -------------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused():
    params, tokens = random_case(14, 3)
    flat = np.zeros((3, 4), dtype=int)
    with pytest.raises(ValueError, match="codeword"):
        code_leech_tokens(TokenEncoder(), params, np.zeros_like(tokens))
    with pytest.raises(ValueError, match="shape"):
        code_leech_tokens(TokenEncoder(), params, tokens[:2])
    with pytest.raises(TypeError):
        code_leech_tokens(TokenEncoder(), params.astype(float), tokens)
    for coder in (TokenEncoder(), BitCounter(), ConstrictionEncoder()):
        for code, numbers in ((code_leech_tokens, params), (code_sign_tokens, flat)):
            with pytest.raises(ValueError, match="only a decoder can do without the tokens"):
                code(coder, numbers)
    with pytest.raises(ValueError, match="decoder"):
        TokenEncoder().code(integer_pmf(np.ones((2, 3))), None)
    with pytest.raises(ValueError, match=r"\+1 or -1"):
        code_sign_tokens(TokenEncoder(), flat, np.zeros((3, 4), dtype=np.int8))
    with pytest.raises(ValueError, match="shape"):
        code_sign_tokens(TokenEncoder(), flat[:, :0], None)


def test_the_origin_is_a_class_of_its_own():
    """With it, codewords cost what they cost before plus log2(1 + 1 / Z), and silence costs log2(1 + Z)."""
    rng = np.random.default_rng(5)
    params = rng.integers(-40, 20, (200, 24, 3))
    tokens = leech.codebook()[rng.integers(0, leech.SIZE, 200)].copy()
    tokens[::3] = 0
    encoder = TokenEncoder()
    code_leech_tokens(encoder, params, tokens, origin=True)
    decoder = TokenDecoder(encoder.to_bytes())
    assert np.array_equal(code_leech_tokens(decoder, params, origin=True), tokens)
    decoder.finish()

    partition = leech_masses.shell_masses(params)[0].sum(axis=1)
    bits = leech_tokens.leech_token_bits(params, tokens, origin=True)
    assert bits[::3] == pytest.approx(np.log2(1 + partition[::3]), abs=0.02)
    spoken = np.arange(200) % 3 > 0
    without = leech_tokens.leech_token_bits(params[spoken], tokens[spoken])
    assert bits[spoken] == pytest.approx(without + np.log2(1 + 1 / partition[spoken]), abs=0.02)


def test_the_origin_is_refused_where_the_code_does_not_hold_it():
    with pytest.raises(ValueError, match="not a codeword"):
        code_leech_tokens(BitCounter(), np.zeros((1, 24, 3), dtype=np.int64), np.zeros((1, 24), dtype=np.int8))
