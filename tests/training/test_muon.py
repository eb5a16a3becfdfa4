import pytest
import torch

from leechcodec.training.muon import Muon, orthonormalize


def test_orthonormalize_bounds_singular_values():
    torch.manual_seed(0)
    for shape in ((3, 8, 40), (2, 40, 8), (1, 16, 16)):
        s = torch.linalg.svdvals(orthonormalize(torch.randn(shape)).float())
        assert s.max() < 1.3 and s.min() > 0.3


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_agrees_with_torch_muon():
    """Same direction and size as torch.optim.Muon with the same recipe, on a matrix."""
    torch.manual_seed(0)
    ours, theirs = torch.randn(24, 60), None
    theirs = ours.clone()
    a, b = torch.nn.Parameter(ours), torch.nn.Parameter(theirs)
    mine = Muon([a], lr=1e-2, momentum=0.95, weight_decay=0.1)
    reference = torch.optim.Muon(
        [b], lr=1e-2, momentum=0.95, weight_decay=0.1, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    start = a.detach().clone()
    for _ in range(3):
        grad = torch.randn(24, 60)
        a.grad, b.grad = grad.clone(), grad.clone()
        mine.step()
        reference.step()
    moved, expected = a.detach() - start, b.detach() - start
    assert (moved - expected).norm() < 0.05 * expected.norm()


def test_convolutions_are_flattened():
    p = torch.nn.Parameter(torch.zeros(4, 3, 3, 3))
    p.grad = torch.randn(4, 3, 3, 3)
    Muon([p], lr=1.0).step()
    s = torch.linalg.svdvals(p.detach().reshape(4, 27)) / (0.2 * 27**0.5)
    assert s.max() < 1.3 and s.min() > 0.6
