import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from leechcodec.errors import ModelError
from leechcodec.lab import metrics
from leechcodec.training import lpips_net
from tests.lab.lab_files import lpips_weights, noisy, picture

if find_spec("lpips") is None:
    pytest.skip("lpips is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return lpips_weights(tmp_path_factory.mktemp("lpips"))


def reference(a: np.ndarray, b: np.ndarray, backbone: dict, linear: list) -> float:
    """LPIPS from the paper: unit-normalised features, squared differences, non-negative weights, mean, sum."""
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    total = 0.0
    x = torch.stack([(torch.tensor(p).permute(2, 0, 1) / 127.5 - 1 - shift) / scale for p in (a, b)])
    for number, layer in enumerate((0, 3, 6, 8, 10)):
        if number in (1, 2):
            x = F.max_pool2d(x, 3, 2)
        kernel = backbone[f"features.{layer}.weight"]
        stride, padding = (4, 2) if layer == 0 else (1, kernel.shape[2] // 2)
        x = F.relu(F.conv2d(x, kernel, backbone[f"features.{layer}.bias"], stride, padding))
        unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
        total += ((unit[0] - unit[1]).square() * linear[number].reshape(-1, 1, 1)).sum(0).mean().item()
    return total


def test_lpips_against_a_second_implementation(weights):
    net = lpips_net.Lpips(weights.parent)  # a folder will do
    image = picture(80, 64)
    a, b = np.asarray(image), np.asarray(noisy(image, 30))
    linear = [getattr(net.net, f"lin{number}").model[-1].weight for number in range(5)]
    assert net(a, b) == pytest.approx(reference(a, b, load_file(weights), linear), rel=1e-4)
    assert net(a, a) == 0
    assert metrics.scores(image, noisy(image, 30), net).lpips == net(a, b)
    small = picture(30, 64)
    assert metrics.scores(small, small, net).lpips is None
    smallest = picture(31, 31)
    assert metrics.scores(smallest, smallest, net).lpips == 0


def test_the_packages_published_examples():
    examples, backbone = os.environ.get("LEECHCODEC_LPIPS_EXAMPLES"), os.environ.get("LEECHCODEC_LPIPS_WEIGHTS")
    if not examples or not backbone:
        pytest.skip(
            "LEECHCODEC_LPIPS_EXAMPLES (folder of the lpips repository's imgs/ex_*.png) or LEECHCODEC_LPIPS_WEIGHTS "
            "is not set"
        )
    net = lpips_net.Lpips(backbone)
    images = {
        name: np.asarray(Image.open(Path(examples) / f"ex_{name}.png").convert("RGB")) for name in ("ref", "p0", "p1")
    }
    assert net(images["ref"], images["p0"]) == pytest.approx(0.722, abs=5e-4)
    assert net(images["ref"], images["p1"]) == pytest.approx(0.138, abs=5e-4)


def test_other_weights_are_refused(tmp_path, weights):
    with pytest.raises(ModelError, match="no LPIPS backbone"):
        lpips_net.Lpips(tmp_path)
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match=r"text\.pth"):
        lpips_net.Lpips(tmp_path / "text.pth")
    tensors = load_file(weights)
    save_file({**tensors, "features.3.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"features\.3\.weight"):
        lpips_net.Lpips(tmp_path / "other.safetensors")
    torch.save({**tensors, "classifier.1.weight": torch.zeros(2)}, tmp_path / "alexnet.pth")
    assert lpips_net.read_backbone(tmp_path / "alexnet.pth").keys() == tensors.keys()
