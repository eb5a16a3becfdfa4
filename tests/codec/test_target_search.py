import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.codec.target_search import best_within_size, least_for_psnr
from leechcodec.errors import TargetError


def size_of(quality: float, wiggle: float = 0.0) -> int:
    return round(2000 * math.exp(quality / 30) * (1 + wiggle * math.sin(quality)))


@given(st.floats(2100, 50_000), st.sampled_from([0.0, 0.004]))
def test_size_is_met_from_below(target, wiggle):
    calls = []

    def measure(quality):
        calls.append(quality)
        return size_of(quality, wiggle)

    found = best_within_size(measure, target)
    assert found.value == size_of(found.quality, wiggle) <= target
    assert len(calls) <= 16 and len(set(calls)) == len(calls)
    assert found.close and found.value >= 0.98 * target


@given(st.floats(2500, 50_000), st.sampled_from([-0.03, 0.0, 0.05, 0.4]), st.sampled_from([0.0, 0.003]))
def test_a_rough_measure_leads_to_the_size_in_a_few_steps(target, difference, wiggle):
    calls = []

    def measure(quality):
        calls.append(quality)
        return size_of(quality, wiggle)

    found = best_within_size(measure, target, lambda quality: round(size_of(quality) * (1 + difference)))
    assert found.close and 0.98 * target <= found.value == size_of(found.quality, wiggle) <= target
    assert len(calls) <= 4 and len(set(calls)) == len(calls)


@given(st.floats(22, 39), st.floats(-1, 1))
def test_a_rough_measure_leads_to_the_psnr_in_a_few_steps(target, difference):
    calls = []

    def measure(quality):
        calls.append(quality)
        return 20 + 0.2 * quality

    found = least_for_psnr(measure, target, lambda quality: 20 + 0.19 * quality + difference)
    assert found.close and target <= found.value <= target + 0.05
    assert len(calls) <= 4


@pytest.mark.parametrize("rough", [lambda quality: 1, lambda quality: 10**9, lambda quality: size_of(101 - quality)])
def test_a_rough_measure_that_leads_nowhere_does_no_harm(rough):
    found = best_within_size(size_of, 9000, rough)
    assert found.close and 0.98 * 9000 <= found.value <= 9000
    with pytest.raises(TargetError, match="the lowest quality needs 2,068"):
        best_within_size(size_of, 100, rough)


def test_sizes_beyond_the_dial():
    with pytest.raises(TargetError, match="the lowest quality needs 2,068"):
        best_within_size(size_of, 100)
    found = best_within_size(size_of, 1e9)
    assert found.quality == 100 and not found.close


@given(st.floats(25, 40))
def test_psnr_is_met_from_above(target):
    def psnr_of(quality):
        return 20 + 0.2 * quality

    if target > psnr_of(100):
        with pytest.raises(TargetError, match=r"gives 40.00 dB"):
            least_for_psnr(psnr_of, target)
        return
    found = least_for_psnr(psnr_of, target)
    assert target <= found.value <= target + 0.05 and found.close


def test_psnr_below_the_dial():
    found = least_for_psnr(lambda quality: 30 + quality, 20)
    assert found.quality == 1 and not found.close


def test_a_step_in_the_dial_is_not_overshot():
    """Where the size jumps over the target, the nearest below it is taken, and said to be far."""
    found = best_within_size(lambda quality: 1000 if quality < 40 else 2000, 1500)
    assert found.value == 1000 and found.quality == pytest.approx(39.99) and not found.close


@pytest.mark.parametrize("target", [0, -1, math.nan, math.inf])
def test_a_target_must_be_a_number(target):
    for search in (best_within_size, least_for_psnr):
        with pytest.raises(TargetError, match="positive number"):
            search(size_of, target)


@pytest.mark.parametrize("shift", [-60, 0, 60])
def test_a_jump_is_found_from_a_rough_measure(shift):
    def jumping(quality):
        return (1000 if quality < 59 else 2000) + round(quality)

    calls = []

    def measure(quality):
        calls.append(quality)
        return jumping(quality)

    found = best_within_size(measure, 1500, lambda quality: jumping(quality) + shift)
    assert found.quality == 58.99 and found.value == 1059 and not found.close
    assert calls == [58.99, 59.0]
