"""Do Pillow's codecs stand where their published Kodak curves do, at the settings that those were measured with?

    LEECHCODEC_KODAK=… LEECHCODEC_CURVES=…/kodak_published.json python -m pytest -s tests/lab/test_published.py

prints bpp, PSNR and the distance to the published curve, and the same at the laboratory's own settings.
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leechcodec.lab import curves
from leechcodec.lab.metrics import psnr
from leechcodec.lab.peers.registry import adapter


def wavelet_5_3(bpp: float) -> dict:
    return {"quality_mode": "rates", "quality_layers": [24 / bpp], "irreversible": False, "mct": 1}


CASES = [
    ("JPEG", "JPEG", {"quality": 20}, "jpeg", 20, 0.3),
    ("JPEG", "JPEG", {"quality": 55}, "jpeg", 55, 0.3),
    ("WebP", "WEBP", {"quality": 40}, "webp", 40, 0.3),
    ("JPEG 2000", "JPEG2000", wavelet_5_3(0.2), "jpeg2000", 0.2, 0.3),
    ("JPEG 2000", "JPEG2000", wavelet_5_3(0.5), "jpeg2000", 0.5, 0.45),  # theirs went through 8-bit YCbCr first
]


@pytest.mark.parametrize(("name", "file_format", "options", "key", "dial", "limit"), CASES)
def test_published_settings_agree(kodak, name, file_format, options, key, dial, limit):
    file = os.environ.get("LEECHCODEC_CURVES")
    if not file:
        pytest.skip("LEECHCODEC_CURVES does not name a file of published curves")
    curve = curves.published(Path(file), [name])[0]
    images = [Image.open(path).convert("RGB") for path in sorted(kodak.glob("*.png"))]

    def plain(image):
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        return buffer.getvalue()

    peer = adapter(key)
    difference = distance(curve, images, plain)
    ours = distance(curve, images, lambda image: peer.encode(image, peer.setting(dial)))
    print(f"\n{name} {options}: {difference:+.3f} dB; leechcodec's {key} at {dial}: {ours:+.3f} dB")
    assert abs(difference) < limit
    assert ours > difference  # no peer is measured at worse settings than the published ones


def distance(curve, images, encode) -> float:
    """Mean PSNR of files minus the curve's PSNR at their mean bpp, in dB."""
    points = []
    for image in images:
        data = encode(image)
        decoded = Image.open(io.BytesIO(data)).convert("RGB")
        points.append((8 * len(data) / (image.width * image.height), psnr(np.asarray(image), np.asarray(decoded))))
    bpp, decibels = np.mean(points, axis=0)
    return float(decibels - np.interp(np.log(bpp), np.log(curve.bpp), curve.metrics["psnr"]))
