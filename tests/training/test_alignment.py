import os

import pytest
import torch
from torch import nn

from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError
from leechcodec.testing.tiny import LAYOUT
from leechcodec.training.alignment import MEAN, STD, Alignment, VisionFeatures, alignment_loss
from tests.lab.lab_files import lpips_weights


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    return lpips_weights(tmp_path_factory.mktemp("alexnet"))


@pytest.fixture(scope="module", params=["random", "trained"])
def weights(request, random_weights):
    """AlexNet's file: random, and torchvision's from the environment variable LEECHCODEC_LPIPS_WEIGHTS."""
    if request.param == "random":
        return random_weights
    path = os.environ.get("LEECHCODEC_LPIPS_WEIGHTS")
    if not path:
        pytest.skip("LEECHCODEC_LPIPS_WEIGHTS does not name a file with AlexNet's features")
    return path


def patterns(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, size // 16, size // 16, generator=generator) * 2 - 1
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)


def test_features_lie_on_the_latents_grid(weights):
    features = VisionFeatures(weights)
    for height, width in ((64, 64), (128, 64), (96, 144)):
        found = features(patterns(192)[:, :, :height, :width])
        assert found.shape == (2, 256, height // 16, width // 16)
        assert found.dtype == torch.float32 and not found.requires_grad
    # A spot in the middle of a cell is seen by that cell more than by any other.
    x = torch.zeros(1, 3, 128, 128)
    x[:, :, 52:60, 68:76] = 1
    response = (features(x) - features(torch.zeros_like(x))).norm(dim=1)[0]
    row, column = divmod(response.argmax().item(), 8)
    assert abs(row - 3) <= 1 and abs(column - 4) <= 1


def test_features_are_alexnets(weights):
    """Against the same layers as a torch module, on the same padded picture."""
    layers, tensors = [], VisionFeatures(weights).tensors
    for layer, (stride, padding) in {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}.items():
        weight = tensors[f"features.{layer}.weight"]
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride, padding)
        conv.load_state_dict({part: tensors[f"features.{layer}.{part}"] for part in ("weight", "bias")})
        layers += [conv, nn.ReLU()] + [nn.MaxPool2d(3, 2)] * (layer in (0, 3))
    x = patterns(64)
    normal = (x / 2 + 0.5 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    expected = nn.Sequential(*layers)(nn.functional.pad(normal, (8,) * 4, mode="reflect"))
    assert torch.allclose(VisionFeatures(weights)(x), expected, atol=1e-4 * expected.abs().max().item())


def test_the_loss_by_hand():
    torch.manual_seed(0)
    latents, features = torch.randn(2, 2, 3, 7), torch.randn(2, 7, 2, 3)
    cosine = nn.functional.cosine_similarity
    apart, unlike = [], []
    for z, f in zip(latents.flatten(1, 2), features.flatten(2).mT):
        apart += [max(0.0, 0.5 - cosine(a, b, dim=0).item()) for a, b in zip(z, f)]
        pairs = [(i, j) for i in range(6) for j in range(6)]
        gaps = [abs(cosine(z[i], z[j], dim=0) - cosine(f[i], f[j], dim=0)).item() for i, j in pairs]
        unlike += [max(0.0, gap - 0.25) for gap in gaps]
    expected = sum(apart) / len(apart) + sum(unlike) / len(unlike)
    assert alignment_loss(latents, features).item() == pytest.approx(expected, rel=1e-5)


def test_margins_and_extremes():
    features = torch.rand(1, 5, 2, 2)
    same = features.permute(0, 2, 3, 1)
    assert alignment_loss(3 * same, features) == 0
    assert 1.4 < alignment_loss(-same, features) <= 1.5 + 1e-6  # opposed: the first term alone, at its largest


@pytest.mark.slow
def test_gradient_steps_align_latents_with_features(weights):
    """A linear map and free latents find what the network sees in pictures."""
    torch.manual_seed(0)
    alignment, x = Alignment(ModelConfig(**LAYOUT), 24, weights), patterns(128)
    z = [torch.zeros(0)] * 2 + [torch.randn(2, 8, 8, 24, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.Adam([*alignment.parameters(), *z[2:]], lr=0.03)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = alignment(x, z)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


def test_images_without_the_stages_are_left_out(random_weights):
    layout = LAYOUT | {"min_quality": (1, 1, 1, 50, 60)}
    alignment, x = Alignment(ModelConfig(**layout), 4, random_weights), patterns(64)
    z = [torch.randn(2, 1, 1, 4), torch.randn(2, 2, 2, 4), torch.randn(2, 4, 4, 4), torch.randn(1, 4, 4, 4)]
    assert alignment.stages == [2, 3]
    one = alignment(x[:1], [part[:1] for part in z])
    assert alignment(x, z).item() == pytest.approx(one.item())
    nobody = alignment(x, z[:3])
    nobody.backward()
    assert nobody == 0 and not alignment.projection.weight.grad.any()


def test_a_model_without_stages_there_is_refused(random_weights):
    layout = LAYOUT | dict(
        stages=(1, 1, 0, 1, 0), passes=(1, 1, 2), min_quality=(1, 1, 1),
        synthesis_blocks=((1,), (1,), (1,), (1,), (1,)),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="stride 16"):
        Alignment(ModelConfig(**layout), 24, random_weights)
