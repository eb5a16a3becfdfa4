import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


@pytest.mark.slow
def test_svg_and_png(curves, tmp_path):
    plot.draw(curves, tmp_path / "rd.svg", title="Made up")
    text = (tmp_path / "rd.svg").read_text()
    for words in ("LEECH", "WEBP", "VVC, published", "PSNR (dB)", "MS-SSIM (dB)", "SSIMULACRA2", "LPIPS", "Made up"):
        assert words in text
    assert "stroke-dasharray" in text and not re.search(r"<dc:date>", text)
    plot.draw(curves, tmp_path / "rd.png", max_bpp=0.5)
    assert Image.open(tmp_path / "rd.png").width > 1500


@pytest.mark.slow
def test_names_at_the_ends_of_curves(curves, tmp_path):
    many = [replace(curves[0], key=str(number), name=f"CODEC {number}") for number in range(12)]
    plot.draw(many, tmp_path / "rd.svg", labels=True)
    text = (tmp_path / "rd.svg").read_text()
    assert all(text.count(f">CODEC {number}<") == 4 for number in range(12))  # in each panel; no legend
    plot.draw(many, tmp_path / "legend.svg")
    assert (tmp_path / "legend.svg").read_text().count(">CODEC 11<") == 1


def test_where_a_curve_ends():
    assert plot._end([1, 2, 4], [10, 20, 40], 3) == (3, 30)
    assert plot._end([1, 2, 4], [10, 20, 40], 4) == (4, 40)
    assert plot._end([1, 2], [10, 20], 5) == (2, 20) and plot._end([1, 2], [10, 20], 0.5) is None


@given(st.lists(st.floats(0, 1), max_size=40), st.floats(0.001, 0.2))
def test_labels_are_moved_apart(heights, gap):
    wanted = sorted(heights)
    found = plot.spread(wanted, gap)
    least = min(gap, 1 / max(1, len(wanted) - 1))
    assert len(found) == len(wanted) and all(-1e-9 <= place <= 1 + 1e-9 for place in found)
    assert all(b - a >= least - 1e-9 for a, b in itertools.pairwise(found))
    if all(b - a >= gap for a, b in itertools.pairwise(wanted)):
        assert found == pytest.approx(wanted)


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
