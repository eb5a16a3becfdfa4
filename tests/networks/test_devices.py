"""Devices: one code path whichever is named, and refusals of one line. No accelerator is needed.

torch's device "meta" knows shapes and computes nothing: what would mix two devices fails there as it does on a GPU.
"""

import subprocess
import sys

import pytest
import torch
from PIL import Image

from leechcodec.codec import api, refinement_window
from leechcodec.codec.batch import compress_many, decompress_many
from leechcodec.codec.efforts import Box
from leechcodec.codec.model_store import load_model
from leechcodec.config import ModelConfig
from leechcodec.errors import ConfigError, MissingPackageError
from leechcodec.networks import devices, runtime
from leechcodec.networks.model import CodecModel
from leechcodec.networks.torch_transforms import TorchTransforms
from leechcodec.testing.tiny import LAYOUT, tiny_model
from tests.lab.lab_files import picture


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, "")  # or else what a test sets would stay
    monkeypatch.delenv(devices.VARIABLE)


def test_the_processor_by_name_is_the_processor(unset, tiny_folder):
    options = {"model": tiny_folder, "device": "cpu"}
    image = picture(130, 70)
    devices.use_device("cpu")
    data = api.compress(image, quality=60, model=tiny_folder)
    assert api.compress(image, quality=60, **options) == data
    assert list(compress_many([image], quality=60, **options)) == [data]
    assert (
        api.compress_to(image, size=len(data), **options)[0]
        == api.compress_to(image, size=len(data), model=tiny_folder)[0]
    )
    shown = api.decompress(data, model=tiny_folder).tobytes()
    assert api.decompress(data, **options).tobytes() == shown
    assert api.decompress_partial(data, **options)[0].tobytes() == shown
    assert next(decompress_many([data], **options)).tobytes() == shown
    tokens = api.tokenize(image, quality=60, **options)
    assert tokens.digest() == api.read_tokens(data, model=tiny_folder).digest()
    assert api.detokenize(tokens, **options).tobytes() == api.detokenize(tokens, model=tiny_folder).tobytes()


def test_auto_is_cuda_where_there_is_one(unset, monkeypatch):
    for there, wanted in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert devices.device("auto", "torch") == wanted and devices.device(how="torch") == "cpu"


def test_torch_has_the_device_that_onnx_runtime_has_not(unset, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.delenv(runtime.VARIABLE, raising=False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    assert devices.place() == devices.place("cpu") == (None, "cpu")
    assert devices.place("cuda:1") == ("torch", "cuda:1")
    with pytest.raises(MissingPackageError, match="onnxruntime-openvino"):
        devices.place("openvino")
    monkeypatch.setattr(devices, "has_torch", lambda: False)
    with pytest.raises(MissingPackageError, match="onnxruntime-gpu"):
        devices.place("cuda:1")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert devices.place("auto") == (None, "cuda") and devices.place() == (None, "cpu")


def test_the_runtime_onnx_decides_without_torch():
    pytest.importorskip("onnxruntime")
    program = "import sys, leechcodec.networks.devices as d; d.device('auto', 'onnx'); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:1", ""])
def test_what_is_no_device(name):
    with pytest.raises(ConfigError, match="unknown device"):
        devices.use_device(name)


def test_a_device_that_is_not_there_is_one_line(unset, tiny_folder, monkeypatch):
    image = Image.new("RGB", (64, 64))
    monkeypatch.setattr(torch, "zeros", _no_device)
    for name in ("cuda:7", "mps"):
        with pytest.raises(ConfigError, match=f"^device '{name}' is not there: not compiled with it$"):
            api.compress(image, model=tiny_folder, device=name)
    monkeypatch.setenv(runtime.VARIABLE, "torch")
    with pytest.raises(ConfigError, match="device 'openvino' is for ONNX Runtime"):
        api.compress(image, model=tiny_folder, device="openvino")
    with pytest.raises(TypeError, match="device"):
        api.compress(image, model=tiny_folder, device=0)


def _no_device(*_, device=None, **__):
    raise AssertionError("not compiled with it\nand a second line")


def test_execution_providers(unset, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    there = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert devices.device(how="onnx") == "cpu"
    packages = {"cuda": "onnxruntime-gpu", "openvino": "onnxruntime-openvino", "directml:1": "onnxruntime-directml"}
    for name, package in packages.items():
        with pytest.raises(MissingPackageError, match=rf"'{name}' needs ONNX Runtime's \w+: pip install {package}$"):
            devices.device(name, "onnx")
    there.append("CUDAExecutionProvider")
    assert devices.device("auto", "onnx") == "cuda" and devices.device("cuda:1", "onnx") == "cuda:1"
    assert devices.execution_provider("cuda:1") == ("CUDAExecutionProvider", {"device_id": 1})
    assert devices.execution_provider("cpu") == ("CPUExecutionProvider", {})


def test_a_provider_that_does_not_start_is_an_error(monkeypatch):
    """ONNX Runtime itself would go on with the processor, in silence."""
    pytest.importorskip("onnxruntime")
    from leechcodec.networks import onnx_sessions

    class Session:
        def __init__(self, *_, **__):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnx_sessions.onnxruntime, "InferenceSession", Session)
    with pytest.raises(ConfigError, match="device 'cuda': ONNX Runtime's CUDAExecutionProvider does not start"):
        onnx_sessions._session(b"", 1, "cuda")


def test_networks_elsewhere_are_not_those_for_measuring(tiny_folder):
    loaded = load_model(tiny_folder, "torch")
    assert loaded.networks is loaded.networks_there
    elsewhere = TorchTransforms(tiny_model())
    elsewhere.device = "elsewhere"
    moved = type(loaded)(**{**vars(loaded), "transforms": elsewhere})
    assert moved.networks_there is elsewhere.model and moved.networks is not elsewhere.model


# --- another device --------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch):
    """Tiny networks on another device; the quantizer's kernels are left out, which compute on real numbers."""
    model = CodecModel(ModelConfig(quantizer="leech-ball", ramp=8.0, **LAYOUT)).to("meta").eval()
    monkeypatch.setattr(model.quantizer, "quantize", lambda z, check: (z.to(torch.int8), z))
    return model


def test_another_device_refuses_a_mixture():
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(2, device="meta") + torch.zeros(2)


@torch.inference_mode()
def test_encoding_and_decoding_stay_on_the_device(elsewhere):
    x = torch.zeros(1, 3, 128, 192, dtype=torch.uint8, device="meta")
    codes, x_hat = elsewhere.encode_and_decode(x, 62.0)
    assert {code.device.type for code in codes} == {"meta"} and x_hat.device.type == "meta"
    assert elsewhere.decode(codes, 128, 192, 62.0).shape == (1, 3, 128, 192)


def test_refinement_stays_on_the_device(elsewhere):
    x = torch.zeros(1, 3, 192, 192, dtype=torch.uint8, device="meta")
    codes = [code.to(torch.int8) for code in elsewhere.encode(x, 62.0)]
    window = refinement_window.Window(elsewhere, x, 62.0, codes, Box(0, 192, 0, 192), (190, 180))
    assert {offset.device.type for offset in window.offsets} == {"meta"}
    moved = refinement_window._MovedCodes(window)
    height, width = window.x.shape[2:]
    with torch.enable_grad():
        x_hat = elsewhere.synthesis(height, width, window.weights, moved.choose_codes)
        gradients = torch.autograd.grad(x_hat.sum(), window.offsets)
    assert {gradient.device.type for gradient in gradients} == {"meta"}
