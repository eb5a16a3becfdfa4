import os
import subprocess
import sys

import pytest
import torch

from leechcodec.training.muon import Muon, orthonormalize
from tests.places import ROOT


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


SHARED = """
import torch
from leechcodec.training.muon import Muon
from leechcodec.training.processes import start_processes

processes = start_processes("cpu")
torch.manual_seed(0)
shapes = [(6, 10)] * 3 + [(4, 3, 3, 3)]
starts, grads = ([torch.randn(shape) for shape in shapes] for _ in range(2))
moved = []
for together in (None, processes):
    matrices = [torch.nn.Parameter(start.clone()) for start in starts]
    for matrix, grad in zip(matrices, grads):
        matrix.grad = grad.clone()
    Muon(matrices, lr=0.1, processes=together).step()
    moved.append([matrix.detach() for matrix in matrices])
assert processes.world == 2
for alone, shared in zip(*moved):
    torch.testing.assert_close(shared, alone, atol=1e-3, rtol=1e-2)  # bf16, in stacks of other sizes
processes.close()
"""


@pytest.mark.slow
def test_processes_share_the_work(tmp_path):
    """Three matrices of a shape for two processes, and one."""
    (tmp_path / "shared.py").write_text(SHARED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(tmp_path / "shared.py")], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
