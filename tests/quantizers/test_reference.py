"""VQ, SimVQ, FSQ and LFQ against an independent implementation, vector-quantize-pytorch (extra "reference")."""

import pytest
import torch

from tests.families import all_codes, quantizer_of

reference = pytest.importorskip("vector_quantize_pytorch", reason="needs vector-quantize-pytorch")


@pytest.mark.parametrize("levels", [(8, 5, 5), (8, 8, 8, 5, 5, 5), (3, 4, 7)])
def test_fsq(levels):
    ours, theirs = quantizer_of("fsq-" + "x".join(map(str, levels))), reference.FSQ(levels=list(levels))
    z = torch.randn(1, 2000, len(levels), requires_grad=True)
    wanted, indices = theirs(z)
    codes, value = ours.quantize(z)
    assert torch.allclose(ours.codes_to_vectors(codes), wanted.detach(), atol=1e-6)
    assert torch.equal(ours.codes_to_indices(codes), indices.long())
    weight = torch.randn_like(wanted)
    (theirs_gradient,) = torch.autograd.grad((wanted * weight).sum(), z)
    (gradient,) = torch.autograd.grad((value / ours.unit * weight).sum(), z)
    assert torch.allclose(gradient, theirs_gradient, atol=1e-5)
    every = torch.arange(min(ours.size, 500))
    assert torch.allclose(ours.codes_to_vectors(ours.indices_to_codes(every)), theirs.indices_to_codes(every[None])[0])


@pytest.mark.parametrize("spherical", [False, True])
def test_lfq_and_bsq(spherical):
    ours = quantizer_of("bsq-5" if spherical else "lfq-5")
    theirs = reference.LFQ(codebook_size=32, dim=5, spherical=spherical).train()
    z = torch.randn(1, 4000, 5) * 0.02
    (wanted, indices, _), breakdown = theirs(z, inv_temperature=1.0 if spherical else 100.0, return_loss_breakdown=True)
    codes, _ = ours.quantize(z)
    assert torch.allclose(ours.codes_to_vectors(codes), wanted, atol=1e-6)
    assert torch.equal(ours.codes_to_indices(codes), indices.long())
    # The entropy of a token is the same; that of the mean token we take as if bits were independent, as they are here.
    loss = ours.entropy_loss(z[0])
    assert loss.item() == pytest.approx((breakdown.per_sample_entropy - breakdown.batch_entropy).item(), abs=0.05)


def test_vq_takes_the_same_codewords_and_moves_them_alike():
    ours = quantizer_of("vq-5-6").train()
    ours.set_codewords(ours.codebook.float() / ours.unit)  # on the integer grid, so that both start equal
    theirs = reference.VectorQuantize(
        dim=5, codebook_size=64, decay=0.99, threshold_ema_dead_code=0, commitment_weight=0.25, kmeans_init=False,
        rotation_trick=False,
    ).train()  # fmt: skip
    book = theirs._codebook
    with torch.no_grad():
        book.embed.copy_(ours.words[None])
        book.embed_avg.copy_(ours.sums[None])
        book.cluster_size.copy_(ours.counts[None])
    z = torch.randn(1, 1000, 5) * 0.7  # within the ball
    _, indices, loss = theirs(z)
    codes, _ = ours.quantize(z.clone().requires_grad_())
    assert torch.equal(ours.codes_to_indices(codes), indices)
    assert ours.codebook_loss(z[0]).item() == pytest.approx(loss.item(), rel=1e-4)
    ours.after_step(0.0)
    assert torch.allclose(ours.counts, book.cluster_size[0], atol=1e-4)
    assert torch.allclose(ours.words, book.embed[0], atol=1e-5)


def test_simvq():
    ours = quantizer_of("simvq-5-6")
    theirs = reference.SimVQ(dim=5, codebook_size=64, rotation_trick=False)
    with torch.no_grad():  # on the integer grid, where our codewords are used
        theirs.frozen_codebook.copy_(ours.codebook.float() / ours.unit)
        theirs.code_transform.weight.copy_(torch.eye(5))
    ours.set_codewords(theirs.frozen_codebook)
    z = (torch.randn(1, 1000, 5) * 0.7).requires_grad_()  # within the ball
    wanted, indices, loss = theirs(z)
    codes, value = ours.quantize(z)
    assert torch.equal(ours.codes_to_indices(codes), indices)
    assert torch.allclose(value / ours.unit, wanted, atol=1e-5)
    assert ours.codebook_loss(z[0]).item() == pytest.approx(loss.item(), rel=1e-4)
    (wanted_gradient,) = torch.autograd.grad(loss, theirs.code_transform.weight)
    (gradient,) = torch.autograd.grad(ours.codebook_loss(z[0]), ours.transform)
    assert torch.allclose(gradient.T, wanted_gradient, atol=1e-5)  # theirs multiplies from the other side


def test_every_codeword_of_lfq():
    ours, theirs = quantizer_of("lfq-6"), reference.LFQ(codebook_size=64, dim=6)
    assert torch.equal(all_codes(ours).float(), theirs.codebook)
