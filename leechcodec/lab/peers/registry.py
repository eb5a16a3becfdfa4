"""All codecs by their keys, behind one interface (base.py), and every installed model by its name.

    peer = adapter("webp")
    data = peer.encode(image, peer.setting(40))
    image = peer.decode(data)

A peer's library is imported when the peer is used, never before.
"""

from importlib import import_module

from leechcodec.codec.paths import installed_models
from leechcodec.lab.errors import one_of
from leechcodec.lab.peers.base import COMPRESSAI, EFFORT, PAIR, Peer, PeerOptions

DEFAULT_COMPRESSAI = "compressai-bmshj2018-hyperprior"
_CLASSES = {
    "leech": ("leechcodec.lab.peers.neural", "Leech"),
    "bsq": ("leechcodec.lab.peers.neural", "Bsq"),
    "jpeg": ("leechcodec.lab.peers.pillow", "Jpeg"),
    "jpegli": ("leechcodec.lab.peers.plugins", "Jpegli"),
    "jpeg2000": ("leechcodec.lab.peers.pillow", "Jpeg2000"),
    "webp": ("leechcodec.lab.peers.pillow", "WebP"),
    "avif": ("leechcodec.lab.peers.pillow", "Avif"),
    "avif-420": ("leechcodec.lab.peers.pillow", "Avif420"),
    "jxl": ("leechcodec.lab.peers.plugins", "JpegXl"),
    "jxl-7": ("leechcodec.lab.peers.plugins", "JpegXl7"),
    "heic": ("leechcodec.lab.peers.plugins", "Heic"),
}
DEFAULT = ("leech", "jpeg", "jpegli", "jpeg2000", "webp", "avif-420", "avif", "jxl", "heic")
"""What is measured unless others are named: the released model, and the peers that are quick."""


def option_of(key: str) -> str | None:
    """Which of :class:`PeerOptions` a codec heeds; None where it has none of them: an installed model is its name's."""
    if key == "leech" or key.startswith(EFFORT):
        return "model"
    if key == "bsq":
        return "bsq_model"
    return "compressai_weights" if key == "compressai" or key.startswith(COMPRESSAI) else None


def adapter(key: str, options: PeerOptions | None = None) -> Peer:
    """The codec of a key. Raises PeerError for a key that does not exist; whether it can run, available() says."""
    options = options or PeerOptions()
    if key == "compressai":
        key = DEFAULT_COMPRESSAI
    if key.startswith(COMPRESSAI):
        from leechcodec.lab.peers.compressai import CompressAi

        return CompressAi(options, key.removeprefix(COMPRESSAI))
    if key.startswith(EFFORT):
        from leechcodec.lab.peers.neural import LeechEffort

        return LeechEffort(options, one_of(key.removeprefix(EFFORT), "23456789", "effort"))
    models = sorted({*PAIR, *installed_models()})
    if key in models:
        from leechcodec.lab.peers.neural import Installed

        return Installed(options, key)
    module, name = _CLASSES[one_of(key, [*_CLASSES, *models], "codec or installed model")]
    return getattr(import_module(module), name)(options)


def adapter_of(key: str, model: dict | None) -> Peer:
    """The codec that made a results file, from the file's ``codec`` and ``model``: it decodes the files kept there."""
    source = (model or {}).get("source")
    return adapter(key, PeerOptions(model=source, bsq_model=source, compressai_weights=source, download=False))
