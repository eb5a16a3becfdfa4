import pytest
import torch

from leechcodec.testing.tiny import tiny_model
from leechcodec.training.processes import Processes
from leechcodec.training.settings import TrainingConfig
from leechcodec.training.validation import validate


@pytest.mark.slow
def test_processes_measure_a_share_each():
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8, generator=generator) for _ in range(7)]
    settings, model = TrainingConfig(precision="float32"), tiny_model()
    together = validate(model, images, settings)
    asked = []

    class One(Processes):
        def total(self, values):
            asked.append(values)
            return values

    parts = [validate(model, images, settings, One(rank=rank, world=2)) for rank in (0, 1)]
    for prefix in ("", "whole_"):  # no picture of these is unlike the others
        assert together[f"{prefix}even_score"] == pytest.approx(together[f"{prefix}score"], abs=0.02)
        assert together[f"{prefix}even_score"] <= together[f"{prefix}score"]  # the logarithm is concave
        shares = [part[f"{prefix}even_score"] for part in parts]
        assert sum(shares) == pytest.approx(together[f"{prefix}even_score"], abs=2e-4)
    assert len(asked) == 2 * 2 * 4  # processes, scores, qualities
    for points in ("points", "whole_points"):
        for whole, first, second in zip(together[points], *(part[points] for part in parts), strict=True):
            for key in ("bpp", "psnr", "lagrangian"):
                assert first[key] + second[key] == pytest.approx(whole[key], abs=2e-3) and first[key] > 0 < second[key]
