"""Steps that are recorded must not wait for the device, nor take anything from the processor's memory on the way."""

import contextlib
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from leechcodec.lattice import cuda_kernels, torch_kernels
from leechcodec.networks import ssimulacra2
from leechcodec.networks.model import CodecModel
from leechcodec.quantizers import leech
from leechcodec.testing.tiny import tiny_model
from leechcodec.training.muon import Muon
from leechcodec.training.objective import Objective
from leechcodec.training.recorded import RecordedPasses, RecordedUpdate, recordable, strata_middles
from leechcodec.training.runner_up_loss import Draw
from leechcodec.training.settings import TrainingConfig

pytestmark = pytest.mark.slow

SETTINGS = dict(batch=4, crop=64, rate_start=1.0, rate_tokens=1 << 20, commitment=8.0, contest=5.0)
SETTINGS |= dict(similarity=0.2, ssimulacra2=0.1)


class NoWaits(TorchDispatchMode):
    """Refuses operations with tensors of two devices, or whose result's shape or value the processor must be told."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors}
        asked = (kwargs or {}).get("device")
        if asked is not None and tensors:
            devices.add(torch.device(asked).type)
        assert len(devices) <= 1, f"{func} with {devices}"
        assert not any(word in func.__name__ for word in ("local_scalar", "nonzero", "unique")), func
        return func(*args, **(kwargs or {}))


CASES = [("leech-ball", stage, 64, 0) for stage in range(5)] + [("leech", 4, 64, 0), ("leech-ball", 0, 192, 1)]


@pytest.mark.parametrize("quantizer, stage, crop, coarsest", CASES)
def test_the_passes_never_wait(monkeypatch, quantizer, stage, crop, coarsest):
    """On the meta device, which stands for a GPU: it has no values to wait for."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())
    monkeypatch.setattr(cuda_kernels, "available", lambda device: True)
    monkeypatch.setattr(cuda_kernels, "nearest", lambda z: z.to(torch.int8))
    monkeypatch.setattr(
        cuda_kernels,
        "log_partition_and_marginals",
        lambda scores, wanted: (scores.new_empty(len(scores)), torch.empty_like(scores) if wanted else None),
    )
    model = tiny_model(quantizer)
    images = model.images_sent(strata_middles(4))
    config, meta = replace(model.config, passes=(1 + coarsest, 1, 2, 1, 2)), torch.device("meta")
    model = CodecModel(config).to(meta)
    objective = Objective(config, TrainingConfig(precision="float32", **SETTINGS), 24, device=meta)
    for fill in (torch_kernels._structure_on, torch_kernels._codebook_on, leech._basis, ssimulacra2._constants):
        fill(meta)  # what a first pass leaves behind
    batch = torch.zeros(4, 3, crop, crop, dtype=torch.uint8, device=meta)
    place = torch.zeros(2, dtype=torch.int64, device=meta)
    with NoWaits():
        outcome = objective(model, batch, torch.zeros(4, device=meta), 0, images, Draw(stage, *place))
        outcome.backward()
    assert outcome.loss.shape == () and model.analysis.stem.weight.grad.shape == model.analysis.stem.weight.shape


def test_what_can_be_recorded(monkeypatch):
    model = tiny_model()

    def can(model=model, **changes):
        objective = Objective(model.config, TrainingConfig(**(SETTINGS | changes)), model.quantizer.dim)
        return recordable(objective, model)

    assert not can()  # on the CPU
    on_a_gpu = type("OnAGpu", (), {"device": torch.device("cuda")})
    for other in (model, binary := tiny_model("bsq-18")):
        monkeypatch.setattr(other, "parameters", lambda: iter([on_a_gpu]))
    assert can() and not can(binary)
    for change in (
        dict(rate_start=0.5),
        dict(adversarial=0.1),
        dict(rate_tokens=16),
        dict(optimizer="dion"),
        dict(batch=1),
    ):
        assert not can(**change), change
    assert can(batch=1, dial=(90.0, 90.0)) and can(batch=1, dial=(20.0, 20.0))


def test_rates_in_tensors_are_the_same_rates():
    """As a GPU's update has them, before it is recorded."""
    outcomes = []
    for recorded in (False, True):
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(6, 4, 3, 3).to(memory_format=torch.channels_last)) for _ in "ab"]
        muon = Muon(parameters, lr=0.1, weight_decay=0.1)
        (group,) = muon.param_groups
        update = RecordedUpdate([muon], torch.device("cpu")) if recorded else muon.step
        for rate in (0.1, 0.02):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            group["lr"] = group["lr"].fill_(rate) if recorded else rate
            update()
        outcomes.append(parameters)
    for plain, mine in zip(*outcomes):
        assert torch.allclose(plain, mine, rtol=1e-6, atol=1e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recorded_step_is_the_plain_one():
    model = tiny_model("leech-ball").cuda().train()
    objective = Objective(model.config, TrainingConfig(precision="float32", **SETTINGS), 24, device="cuda")
    quality = strata_middles(4).cuda()
    passes = RecordedPasses(objective, model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    update = RecordedUpdate([optimizer], torch.device("cuda"))
    for seed in range(6):
        batch = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, device="cuda")
        torch.manual_seed(seed)
        found = passes(batch, quality).loss.item()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        kept = {name: p.grad for name, p in model.named_parameters()}
        model.zero_grad(set_to_none=True)
        torch.manual_seed(seed)
        expected = objective(model, batch, quality, 0, passes.inputs_of(batch.shape).images)
        expected.backward()
        assert found == pytest.approx(expected.loss.item(), rel=1e-4)
        for name, parameter in model.named_parameters():
            if name in gradients:
                assert (gradients[name] - parameter.grad).norm() <= 1e-3 * parameter.grad.norm() + 1e-9
            parameter.grad = kept[name]
        before = model.analysis.stem.weight.detach().clone()
        update()
        assert not torch.equal(before, model.analysis.stem.weight)
