import json
from dataclasses import replace

import pytest

from leechcodec.lab import curves
from leechcodec.lab.errors import PeerError, ResultsError
from leechcodec.lab.results import means
from tests.lab.lab_files import results, row


def test_measured_curves_are_in_the_units_drawn():
    curve = curves.measured(results(lpips=False))
    assert curve.key == "jpeg" and not curve.published
    assert curve.points("ms-ssim")[1][0] == pytest.approx(10)
    assert curve.points("lpips") == ([], [])
    assert curve.points("psnr") == (list(curve.bpp), [25, 31, 37, 43, 49, 55])


def mixed(kind: str = "", scale: float = 1.0):
    """A codec on a large image and one too small for MS-SSIM, which costs ten times the bits a pixel."""
    rows = []
    for point in range(5):
        large = row(image=f"{kind}large.png", setting=f"q{point}", bpp=scale * 2.0**point, ms_ssim=1 - 0.1 * 0.5**point)
        small = row(image=f"{kind}small.png", setting=f"q{point}", bpp=10 * scale * 2.0**point)
        rows += [large, small]
    settings, columns = means(rows)
    return replace(results(), settings=settings, results=columns, images=tuple(rows))


def test_a_metric_stands_over_the_rates_of_the_images_that_have_it():
    curve = curves.measured(mixed())
    assert curve.points("psnr")[0] == [5.5 * 2**point for point in range(5)]
    assert curve.points("ms-ssim")[0] == [2**point for point in range(5)]
    only = curves.measured(mixed(), {"small.png"})
    assert only.points("ms-ssim") == ([], []) and only.points("psnr")[0][0] == 10
    both = curves.measured(mixed("texts/"), {"texts/large.png", "texts/small.png"})
    assert both.points("ms-ssim") == curve.points("ms-ssim")


def test_points_of_a_metric_ascend_where_its_own_rates_are_in_another_order():
    rows = [
        row(image="large.png", setting="a", bpp=2.0, ms_ssim=0.9), row(image="small.png", setting="a", bpp=1.0),
        row(image="large.png", setting="b", bpp=1.0, ms_ssim=0.8), row(image="small.png", setting="b", bpp=9.0),
    ]  # fmt: skip
    settings, columns = means(rows)
    curve = curves.measured(replace(results(), settings=settings, results=columns, images=tuple(rows)))
    assert settings == ("a", "b") and curve.points("ms-ssim")[0] == [1, 2]
    assert [place for place, _, _ in curve.numbered_points("ms-ssim")] == [1, 0]
    assert curve.settings == ("a", "b")
    large = curves.measured(replace(results(), images=tuple(rows)), {"large.png"})
    assert large.settings == ("b", "a") and large.bpp == (1, 2)


def test_published_curves(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text(
        json.dumps(
            {
                "A": {"bpp": [2, 1], "psnr": [40, 30], "ms_ssim": None, "ssimulacra2": [80, 60], "source": "a paper"},
                "B": {"bpp": [1]},
            }
        )
    )
    first, second = curves.published(path)
    assert first.bpp == (1, 2) and first.metrics["psnr"] == (30, 40) and first.metrics["ms-ssim"] == (None, None)
    assert first.values("ssimulacra2") == (60, 80) and first.values("lpips") == (None, None)
    assert first.published and second.points("psnr") == ([], [])
    assert [curve.name for curve in curves.published(path, ["B"])] == ["B"]
    with pytest.raises(PeerError, match="'C'"):
        curves.published(path, ["C"])


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"A": 1}',
        '{"A": {"bpp": []}}',
        '{"A": {"bpp": ["x"]}}',
        '{"A": {"bpp": [1, 2], "psnr": [30]}}',
        '{"A": {"bpp": [1], "psnr": [true]}}',
        '{"A": {"bpp": [0], "psnr": [30]}}',
        '{"A": {"bpp": [1], "ms_ssim": [1.2]}}',
    ],
)
def test_damaged_curves_are_refused(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ResultsError):
        curves.published(tmp_path / "c.json")
