import pytest
import torch

from leechcodec.codec.surroundings import shelter


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_autocast_of_any_device_stays_outside(kind):
    torch.set_autocast_enabled(kind, True)
    try:
        with shelter():
            assert not torch.is_autocast_enabled(kind)
        assert torch.is_autocast_enabled(kind)
    finally:
        torch.set_autocast_enabled(kind, False)


def test_a_default_type_stays_outside():
    torch.set_default_dtype(torch.float64)
    try:
        with shelter(), shelter():
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
