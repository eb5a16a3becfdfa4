"""The transforms in ONNX Runtime against torch's."""

import warnings

import numpy as np
import pytest
import torch

from leechcodec.codec.model_store import load_model, save_model
from leechcodec.config import ModelConfig
from leechcodec.networks import onnx_sessions, onnx_walk, runtime
from leechcodec.networks.model import CodecModel
from leechcodec.networks.onnx_graph import Graph
from leechcodec.networks.onnx_walk import unshuffled
from leechcodec.networks.runtime import use_runtime
from leechcodec.testing.tiny import LAYOUT, tiny_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def both(tmp_path, monkeypatch):
    """A tiny model as either runtime loads it."""

    def load(model):
        save_model(tmp_path, model.eval())
        found = []
        for name in ("torch", "onnx"):
            monkeypatch.setenv(runtime.VARIABLE, name)
            found.append(load_model(tmp_path))
        return found

    return load


def pixels(height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
    return small.repeat(16, 0).repeat(16, 1).transpose(2, 0, 1)[None]


def shown(transforms, codes: list[np.ndarray], height: int, width: int, quality: float) -> np.ndarray:
    parts = []
    transforms.decode(codes, height, width, quality, parts.append)
    return np.concatenate(parts, 2)


def encoded(transforms, x: np.ndarray, quality: float) -> tuple[list[np.ndarray], np.ndarray]:
    parts = []
    codes = transforms.encode(x, quality, parts.append)
    return codes, np.concatenate(parts, 2)


@pytest.fixture(params=["whole", "bands", "rows"])
def bands(request, monkeypatch):
    """A picture in one piece, in two bands and a bit, or in bands as narrow as they can be."""
    if request.param != "whole":
        monkeypatch.setattr(onnx_walk, "WHOLE_PIXELS", 0)
        monkeypatch.setattr(onnx_walk, "BAND_PIXELS", 1 if request.param == "rows" else 88 * 128)
    return request.param


@pytest.mark.parametrize("quantizer", ["leech", "leech-ball", "bsq-18"])
def test_they_compute_the_same(both, quantizer, bands):
    """Rounding may move a token here and there: of these none."""
    in_torch, in_onnx = both(tiny_model(quantizer))
    for quality in (1.0, 45.0, 100.0):
        x = pixels(192, 128)
        codes, x_hat = encoded(in_torch.transforms, x, quality)
        found, found_hat = encoded(in_onnx.transforms, x, quality)
        assert all(np.array_equal(a, b) for a, b in zip(codes, found, strict=True))
        assert found_hat.shape == (1, 3, 192, 128) and np.abs(x_hat - found_hat).max() < 1e-4
        assert all(np.array_equal(a, b) for a, b in zip(codes, in_onnx.transforms.encode(x, quality), strict=True))
        decoded = shown(in_onnx.transforms, codes, 192, 128, quality)
        assert decoded.dtype == np.float32 and np.abs(x_hat - decoded).max() < 1e-4
        assert np.abs(shown(in_torch.transforms, codes, 192, 128, quality) - x_hat).max() < 1e-4


@pytest.mark.parametrize("shortcuts", [False, True])
def test_several_blocks_a_ramp_and_shortcuts(both, shortcuts, bands):
    layout = LAYOUT | {"shortcuts": shortcuts}
    layout |= {"synthesis_blocks": ((2,), (0,), (1, 3), (0,), (2,)), "analysis_blocks": (0, 1, 2, 0, 2)}
    torch.manual_seed(1)
    in_torch, in_onnx = both(CodecModel(ModelConfig(quantizer="leech-ball", ramp=8.0, **layout)))
    x = pixels(128, 192)
    codes, x_hat = encoded(in_torch.transforms, x, 62.0)
    found, found_hat = encoded(in_onnx.transforms, x, 62.0)
    assert sum((a != b).any(-1).sum() for a, b in zip(codes, found, strict=True)) <= 2
    assert np.abs(x_hat - shown(in_onnx.transforms, codes, 128, 192, 62.0)).max() < 1e-4 and len(found_hat)


def test_bands_change_nothing(both, monkeypatch):
    """Also where the finest scale's features have no reader, and where bands end within a token of the coarsest."""
    _, loaded = both(tiny_model("leech-ball"))
    x = pixels(320, 192)
    for quality in (1.0, 29.0, 61.0, 100.0):
        monkeypatch.undo()
        codes, x_hat = encoded(loaded.transforms, x, quality)
        monkeypatch.setattr(onnx_walk, "WHOLE_PIXELS", 0)
        for rows in (8, 24, 64, 200):
            monkeypatch.setattr(onnx_walk, "BAND_PIXELS", rows * 192)
            found, found_hat = encoded(loaded.transforms, x, quality)
            assert all(np.array_equal(a, b) for a, b in zip(codes, found, strict=True))
            assert np.abs(found_hat - x_hat).max() < 1e-5


def test_networks_for_gradients_are_torchs(both):
    in_torch, in_onnx = both(tiny_model())
    assert in_onnx.networks is in_onnx.networks and in_onnx.networks is not in_torch.networks
    ours, theirs = (loaded.networks.state_dict() for loaded in (in_onnx, in_torch))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert in_torch.token_model == in_onnx.token_model and in_torch.parameters == in_onnx.parameters


def test_the_bytes_are_an_onnx_model():
    graph = Graph({"x": ("float32", 4), "codes": ("int8", 4)})
    weight = graph.constant(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    y = graph.apply("Conv", "x", weight, strides=[2, 2], pads=[0] * 4)
    y = graph.apply("LeakyRelu", y, alpha=-0.25)
    y = graph.apply("DepthToSpace", graph.apply("Concat", y, y, axis=1), blocksize=2, mode="CRD")
    data = graph.to_bytes(y)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv", "LeakyRelu", "Concat", "DepthToSpace", "Identity"]
    assert np.array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]).ravel(), np.arange(24))
    attributes = {a.name: onnx.helper.get_attribute_value(a) for node in model.graph.node for a in node.attribute}
    assert attributes == {
        "strides": [2, 2], "pads": [0] * 4, "alpha": -0.25, "axis": 1, "blocksize": 2, "mode": b"CRD",
    }  # fmt: skip
    assert [value.name for value in model.graph.input] == ["x", "codes"]


def test_unshuffled_is_torchs():
    x = np.arange(3 * 8 * 12).astype(np.float32).reshape(1, 3, 8, 12)
    assert np.array_equal(unshuffled(x), torch.nn.functional.pixel_unshuffle(torch.from_numpy(x), 4).numpy())


def test_which_runtime(monkeypatch):
    monkeypatch.delenv(runtime.VARIABLE, raising=False)
    assert runtime.runtime() == "onnx" and not runtime.is_chosen()
    use_runtime("torch")
    assert runtime.runtime() == "torch" and runtime.is_chosen()
    use_runtime(None)
    monkeypatch.setattr(runtime, "find_spec", lambda name: None if name == "torch" else name)
    assert runtime.runtime() == "onnx" and not runtime.has_torch()
    with pytest.raises(runtime.ConfigError, match="unknown runtime 'tf': there are torch and onnx"):
        use_runtime("tf")
    with pytest.raises(runtime.MissingPackageError, match=r"needs torch: pip install 'leechcodec\[torch\]'"):
        use_runtime("torch")
    with pytest.raises(runtime.MissingPackageError, match=r"effort 2 needs torch: pip install 'leechcodec\[torch\]'"):
        runtime.check_torch("effort 2")


def test_codes_may_be_read_only_or_a_view(both):
    for loaded in both(tiny_model()):
        codes = encoded(loaded.transforms, np.zeros((1, 3, 64, 128), dtype=np.uint8), 50.0)[0]
        wanted = shown(loaded.transforms, codes, 64, 128, 50.0)
        mirrored = [code[:, ::-1].copy()[:, ::-1] for code in codes]
        for code in codes:
            code.setflags(write=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for given in (codes, mirrored):
                assert np.array_equal(shown(loaded.transforms, given, 64, 128, 50.0), wanted)


def test_sessions_of_two_numbers_of_threads_are_kept(both, monkeypatch):
    transforms = both(tiny_model())[1].transforms
    made = []
    for count in (1, 2, 1, 3, 2):
        monkeypatch.setattr(onnx_sessions, "threads", lambda count=count: count)
        encoded(transforms, pixels(64, 64), 10)
        made.append({number for _, number, _ in transforms._sessions._made})
    assert made == [{1}, {1, 2}, {1, 2}, {2, 3}, {2, 3}]
