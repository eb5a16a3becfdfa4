import re
from dataclasses import replace

import pytest
from PIL import Image

from leechcodec.lab import plot
from leechcodec.lab.curves import measured
from leechcodec.lab.errors import ResultsError
from tests.lab.lab_files import results

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def curves():
    published = replace(measured(results("vvc", gain=2.0, lpips=False)), name="VVC", published=True)
    return [measured(results("leech", gain=1.0)), measured(results("webp")), published]


def test_svg_and_png(curves, tmp_path):
    plot.draw(curves, tmp_path / "rd.svg", title="Made up")
    text = (tmp_path / "rd.svg").read_text()
    for words in ("LEECH", "WEBP", "VVC, published", "PSNR (dB)", "MS-SSIM (dB)", "SSIMULACRA2", "LPIPS", "Made up"):
        assert words in text
    assert "stroke-dasharray" in text and not re.search(r"<dc:date>", text)
    plot.draw(curves, tmp_path / "rd.png", max_bpp=0.5)
    assert Image.open(tmp_path / "rd.png").width > 1500


def test_a_panel_without_curves_is_left_out(tmp_path):
    plot.draw([measured(results(lpips=False))], tmp_path / "rd.svg")
    assert "LPIPS" not in (tmp_path / "rd.svg").read_text()
    with pytest.raises(ResultsError, match=r"\.svg"):
        plot.draw([measured(results())], tmp_path / "rd.jpeg")
    with pytest.raises(ResultsError, match="no curve"):
        plot.draw([], tmp_path / "rd.svg")


def test_styles_differ_without_colour(curves):
    many = [replace(curves[0], key=str(number)) for number in range(12)]
    many += [replace(curves[2], key=str(number)) for number in range(24)]
    styles = plot._styles(many)
    looks = {(style["marker"], style["linestyle"], style.get("markerfacecolor")) for style in styles}
    assert len(looks) == len(many)
    assert all((style["linestyle"] == "-") != curve.published for curve, style in zip(many, styles))
