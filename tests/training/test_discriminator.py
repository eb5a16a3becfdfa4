import torch

from leechcodec.training.discriminator import Discriminator, hinge_loss


def test_the_discriminator_learns():
    torch.manual_seed(0)
    judge = Discriminator((8, 8, 8))
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-2)
    real, decoded = torch.rand(4, 3, 32, 32), torch.full((4, 3, 32, 32), 0.5)
    for _ in range(30):
        loss = hinge_loss(judge, real, decoded)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert judge(real).mean() > judge(decoded).mean() + 0.3


def test_the_hinge_loss_is_the_discriminators_alone():
    judge, real = Discriminator((4, 4, 4)), torch.rand(1, 3, 32, 32)
    decoded = torch.rand(1, 3, 32, 32, requires_grad=True)
    loss = hinge_loss(judge, real, decoded)
    loss.backward()
    assert decoded.grad is None and all(p.grad is not None for p in judge.parameters())
    assert judge(real).shape == (1, 1, 4, 4)
