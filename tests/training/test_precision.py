import pytest
import torch

from leechcodec.errors import ConfigError
from leechcodec.training import precision
from leechcodec.training.muon import orthonormalize
from leechcodec.training.precision import choose_precision, measure


def test_a_named_precision_is_taken(monkeypatch):
    monkeypatch.setattr(precision, "measure", None)
    assert [choose_precision(name) for name in ("bf16", "float32")] == ["bf16", "float32"]
    with pytest.raises(ConfigError, match="precision must be one of auto, bf16, float32"):
        choose_precision("fp8")


@pytest.mark.parametrize("faster", ["bf16", "float32"])
def test_auto_takes_the_faster_one(monkeypatch, faster):
    seconds = {precision.DTYPES[name]: {"product": 1.0 if name == faster else 2.0} for name in precision.DTYPES}
    monkeypatch.setattr(precision, "measure", lambda dtype, device: seconds[dtype])
    assert choose_precision("auto") == faster


def test_every_kind_of_product_is_timed_and_gives_no_gradient_away():
    before = torch.get_rng_state()
    seconds = measure(torch.float32)
    assert len(seconds) == 3 and min(seconds.values()) > 0
    assert torch.equal(before, torch.get_rng_state())


def test_muon_follows():
    matrices = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(0))
    precise, rough = orthonormalize(matrices, dtype=torch.float32), orthonormalize(matrices)
    assert precise.dtype == torch.float32 and rough.dtype == torch.bfloat16
    values = torch.linalg.svdvals(precise)
    assert values.min() > 0.6 and values.max() < 1.25
    assert torch.allclose(precise, rough.float(), atol=0.05)
