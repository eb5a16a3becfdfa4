import hashlib
import shutil
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from leechcodec.errors import CorruptError, NotLqError
from leechcodec.lab.errors import PeerError
from leechcodec.lab.metrics import psnr
from leechcodec.lab.peers import neural
from leechcodec.lab.peers.base import PeerOptions
from leechcodec.lab.peers.registry import adapter, adapter_of
from tests.lab.lab_files import picture


@pytest.mark.parametrize("key", ["jpeg", "jpegli", "jpeg2000", "webp", "avif", "avif-420", "jxl", "heic"])
def test_every_peer_codes(key):
    peer = adapter(key)
    if reason := peer.available():
        pytest.skip(f"{key}: {reason}")
    peer.prepare()
    image = picture(128, 96)
    sizes, qualities = [], []
    for setting in (peer.settings()[0], peer.settings()[-1]):
        data = peer.encode(image, setting)
        decoded = peer.decode(data)
        assert decoded.size == image.size and decoded.mode == "RGB"
        sizes.append(len(data))
        qualities.append(psnr(np.asarray(image), np.asarray(decoded)))
    assert sizes[0] < sizes[1] and qualities[0] < qualities[1] and qualities[1] > 28
    assert all(isinstance(version, str) for version in peer.versions().values())
    assert peer.model() is None and peer.name and peer.description
    labels = [setting.label for setting in peer.settings()]
    assert len(set(labels)) == len(labels) and not any(set(label) & set("/\\: ") for label in labels)


@pytest.mark.parametrize("key", ["jpeg", "webp", "avif", "jxl", "compressai"])
def test_a_dial_of_whole_numbers_has_nothing_between(key):
    peer = adapter(key)
    with pytest.raises(PeerError, match="whole numbers alone, not 2"):
        peer.setting(2.4)
    assert peer.setting(2.0).label == "q2"
    assert adapter("leech").setting(2.4).label == "q2.4" and adapter("jpeg2000").setting(0.25).value == 0.25


@pytest.mark.parametrize("key", ["jpeg", "jpegli"])
def test_jpeg_is_subsampled_as_its_name_says(key):
    jpeg = adapter(key)
    if reason := jpeg.available():
        pytest.skip(reason)
    data = jpeg.encode(picture(), jpeg.setting(50))
    start = data.index(b"\xff\xc0")  # the frame's header: 4:2:0 is 2 x 2 samples of the first component
    assert data[start + 9 : start + 13] == bytes([3, 1, 0x22, 0]) and "4:2:0" in jpeg.name


def test_avif_is_subsampled_as_its_name_says():
    avif = adapter("avif")
    if avif.available():
        pytest.skip("this Pillow has no AVIF")
    red = Image.new("RGB", (32, 32), (0, 0, 255))
    red.paste((255, 0, 0), (0, 0, 15, 32))
    decoded = np.asarray(avif.decode(avif.encode(red, avif.setting(95))))
    assert np.abs(decoded.astype(int) - np.asarray(red)).max() < 40  # no colour bleeds over the edge
    coarse = adapter("avif-420")
    decoded = np.asarray(coarse.decode(coarse.encode(red, coarse.setting(95))))
    assert np.abs(decoded.astype(int) - np.asarray(red)).max() > 40  # and here one does: the edge is at an odd column


def test_metadata_is_not_the_codecs_own_business(tmp_path):
    """What evaluate hands over has none; a profile would count as bytes."""
    from leechcodec.lab.datasets import pixels_of

    path = tmp_path / "photo.jpg"
    picture().save(path, icc_profile=b"p" * 3000, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", quality=95)
    image = pixels_of(path)
    webp = adapter("webp")
    assert b"p" * 100 not in webp.encode(image, webp.setting(20)) and not image.info


def test_unknown_names_and_settings():
    with pytest.raises(PeerError, match="jpeg2000"):
        adapter("jpeg3000")
    with pytest.raises(PeerError, match=r"0\.\.100"):
        adapter("webp").setting(101)
    with pytest.raises(PeerError, match=r"1\.\.100"):
        adapter("leech").setting(0)


def test_the_runtime_is_among_the_versions(tiny_folder, monkeypatch):
    """A cached row is one of its runtime."""
    peer = adapter("leech", PeerOptions(model=str(tiny_folder)))
    monkeypatch.delenv("LEECHCODEC_RUNTIME", raising=False)
    assert peer.versions()["runtime"].startswith("onnxruntime ")
    monkeypatch.setenv("LEECHCODEC_RUNTIME", "torch")
    assert peer.versions()["runtime"].startswith("torch ") and "device" not in peer.versions()
    monkeypatch.setattr(neural, "place", lambda: ("torch", "cuda"))
    assert peer.versions()["device"] == "cuda"


@pytest.mark.slow
def test_this_codec_and_a_second_model(tiny_folder):
    image = picture(70, 64)
    options = PeerOptions(model=str(tiny_folder), bsq_model=str(tiny_folder))
    for key in ("leech", "bsq"):
        peer = adapter(key, options)
        assert peer.available() is None and peer.name == "leechcodec tiny"
        facts = peer.model()
        assert len(facts["token_model"]) == 16 and len(facts["weights_sha256"]) == 64
        data = peer.encode(image, peer.setting(30))
        assert peer.decode(data).size == image.size
        assert adapter_of(key, facts).decode(data) == peer.decode(data)
    effort = adapter("leech-effort9", options)
    assert effort.key == "leech-effort9" and effort.name == "leechcodec tiny, effort 9"
    assert effort.versions() == adapter("leech", options).versions() and len(effort.versions()["code"]) == 8
    data = effort.encode(image, effort.setting(30))
    assert adapter("leech", options).decode(data).size == image.size
    with pytest.raises(PeerError, match="effort"):
        adapter("leech-effort1")
    assert "no model" in adapter("leech", PeerOptions(model="missing")).available()


def test_any_installed_model_is_a_codec(tiny_folder, monkeypatch):
    from leechcodec.codec import model_store
    from leechcodec.lab.peers import neural, registry

    twin = tiny_folder.parent / "bsq-twin"
    shutil.copytree(tiny_folder, twin)
    for module in (model_store, neural):
        monkeypatch.setattr(module, "models_dir", lambda: tiny_folder.parent)
    monkeypatch.setattr(registry, "installed_models", lambda: ["bsq-twin", "tiny"])
    image = picture(70, 64)
    for key, name in (("tiny", "leechcodec tiny"), ("bsq-twin", "BSQ (bsq-twin)"), ("bsq", "BSQ (bsq-twin)")):
        peer = adapter(key)
        assert peer.available() is None and (peer.key, peer.name) == (key, name)
        assert peer.model()["source"] == ("tiny" if key == "tiny" else "bsq-twin")
        data = peer.encode(image, peer.setting(30))
        assert adapter_of(key, peer.model()).decode(data).size == image.size
    shutil.rmtree(twin)
    model_store._load.cache_clear()
    for key, missing in (("bsq", "bsq-twin"), ("leech-twin", "leech-twin")):  # in one line, and the others go on
        assert f"no model '{missing}'" in adapter(key).available()
    with pytest.raises(PeerError, match=r"no codec or installed model 'leech-vvbr'; there are leech, .*tiny"):
        adapter("leech-vvbr")


def test_compressai_models_are_named_and_packed():
    from leechcodec.lab.peers.compressai import pack, unpack

    peer = adapter("compressai")
    assert peer.key == "compressai-bmshj2018-hyperprior" and len(peer.settings()) == 8
    assert "architectures" in adapter("compressai-other").available()
    data = pack(3, (768, 512), (8, 12), [b"first", b""])
    assert unpack(data) == (3, (768, 512), (8, 12), [b"first", b""])
    with pytest.raises(NotLqError):
        unpack(b"\x89PNG")
    for size in range(4, len(data)):
        with pytest.raises(CorruptError):
            unpack(data[:size])
    with pytest.raises(CorruptError):
        unpack(data + b"x")


class Doubling(torch.nn.Module):
    """Stands for a network of the zoo: its strings are the pixels themselves, its weight a scale."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    @classmethod
    def from_state_dict(cls, state):
        return cls(state["scale"])

    def update(self):
        pass

    def compress(self, x):
        pixels = (x[0] * 255).round().to(torch.uint8)
        return {"strings": [[pixels.numpy().tobytes()]], "shape": tuple(pixels.shape[1:])}

    def decompress(self, strings, shape):
        pixels = np.frombuffer(strings[0][0], dtype=np.uint8).reshape(3, *shape)
        return {"x_hat": torch.tensor(pixels / 255 * float(self.scale))[None]}


def test_compressai_weights_from_a_folder(tmp_path, monkeypatch):
    """With a stand-in for the package: what is asked of the folder, and that its weights are those that code."""
    names = {}
    for quality in range(1, 9):
        path = tmp_path / f"{quality}.pth"
        torch.save({"scale": torch.tensor(quality / 8)}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        names[quality] = f"bmshj2018-hyperprior-{quality}-{digest}.pth.tar"
        path.rename(tmp_path / names[quality])
    zoo = types.ModuleType("compressai.zoo.image")
    urls = {quality: f"https://nowhere.invalid/{name}" for quality, name in names.items()}
    zoo.model_urls = {"bmshj2018-hyperprior": {"mse": urls}}
    zoo.model_architectures = {"bmshj2018-hyperprior": Doubling}
    zoo.load_pretrained = dict
    for name in ("compressai", "compressai.zoo"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "compressai.zoo.image", zoo)
    peer = adapter("compressai", PeerOptions(compressai_weights=str(tmp_path)))
    assert peer.available() is None and peer.model()["weights"] == list(names.values())
    peer.prepare()
    image = Image.new("RGB", (70, 40), (200, 100, 40))
    decoded = peer.decode(peer.encode(image, peer.setting(4)))
    assert decoded.size == (70, 40) and decoded.getpixel((69, 39)) == (100, 50, 20)
    assert adapter_of(peer.key, peer.model()).decode(peer.encode(image, peer.setting(8))).getpixel((0, 0))[0] == 200
    (tmp_path / names[3]).write_bytes(b"others")
    assert "SHA-256" in peer.available() and names[3] in peer.available()
    (tmp_path / names[2]).unlink()
    assert f"1 of its 8 weights are not in {tmp_path}, {names[2]} the first" == peer.available()


def test_a_missing_package_is_a_reason(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    assert "leechcodec[peers]" in adapter("heic").available()
    monkeypatch.setitem(sys.modules, "pyjpegli", None)
    assert "leechcodec[peers]" in adapter("jpegli").available()
