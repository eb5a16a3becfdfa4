import csv
import io
import itertools
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leechcodec.lab import bdrate
from leechcodec.lab.curves import Curve, common_images, left_out, measured
from leechcodec.lab.errors import PeerError
from leechcodec.lab.results import means
from tests.lab.lab_files import results

pytest.importorskip("bjontegaard")


def curve(key, rates, values):
    empty = (None,) * len(rates)
    return Curve(key, key.upper(), False, tuple(rates), {"psnr": tuple(values), "ms-ssim": empty, "lpips": empty})


def test_a_gain_in_quality_is_a_gain_in_rate():
    anchor, better = measured(results()), measured(results("leech", gain=1.0))
    delta = bdrate.bd_rate(anchor, better, "psnr")
    assert delta.rate == pytest.approx(100 * (2 ** (-1 / 6) - 1), abs=1e-6)  # 6 dB a doubling
    assert (delta.low, delta.high) == (26, 55)
    assert bdrate.bd_rate(better, anchor, "psnr").rate == pytest.approx(100 * (2 ** (1 / 6) - 1), abs=1e-6)
    for metric in ("ms-ssim", "ssimulacra2", "lpips"):
        assert bdrate.bd_rate(anchor, better, metric).rate == pytest.approx(0, abs=1e-9)
    halved = replace(anchor, bpp=tuple(rate / 2 for rate in anchor.bpp))
    assert bdrate.bd_rate(anchor, halved, "lpips").rate == pytest.approx(-50)
    assert bdrate.bd_rate(anchor, halved, "lpips").low == pytest.approx(0.5 * 0.6**5)


def test_ssimulacra2_is_a_score_over_the_range_in_common():
    low = Curve("low", "LOW", False, (0.1, 0.2, 0.4, 0.8), {"ssimulacra2": (-20, 20, 50, 70)})
    high = Curve("high", "HIGH", False, (0.05, 0.1, 0.2, 0.4, 0.8), {"ssimulacra2": (-20, 20, 50, 70, 85)})
    delta = bdrate.bd_rate(low, high, "ssimulacra2")
    assert delta.rate == pytest.approx(-50, abs=2) and (delta.low, delta.high) == (-20, 70)
    assert "-20.00..70.00\n" in bdrate.as_text([delta], low, "ssimulacra2") + "\n"  # a plain score: no unit
    assert bdrate.bd_rate(low, high, "psnr").reason == "the anchor: no figures in psnr, 4 points are needed"


def test_what_has_no_bd_rate_says_why():
    anchor = curve("a", (0.1, 0.2, 0.4, 0.8), (25, 28, 31, 34))
    cases = {
        "in common": curve("b", (0.1, 0.2, 0.4, 0.8), (35, 36, 37, 38)),
        "33% of the shorter range": curve("c", (0.1, 0.2, 0.4, 0.8), (31, 33, 36, 40)),
        "3 points": curve("d", (0.1, 0.2, 0.4), (25, 28, 31)),
        "does not rise": curve("e", (0.1, 0.2, 0.4, 0.8), (25, 28, 27, 34)),
    }
    for words, other in cases.items():
        delta = bdrate.bd_rate(anchor, other, "psnr")
        assert delta.rate is None and words in delta.reason
        assert "the anchor: " not in delta.reason
    assert bdrate.bd_rate(cases["3 points"], anchor, "psnr").reason.startswith("the anchor: 3 points")
    assert "no figures in lpips" in bdrate.bd_rate(anchor, cases["in common"], "lpips").reason
    half = curve("f", (0.1, 0.2, 0.4, 0.8), (29.5, 32, 35, 38.5))
    assert bdrate.bd_rate(anchor, half, "psnr").rate is not None  # just half of the range is shared


def test_settings_that_nobody_would_choose_are_left_out():
    anchor = curve("a", (0.1, 0.2, 0.4, 0.8), (25, 28, 31, 34))
    dented = curve("b", (0.05, 0.1, 0.15, 0.2, 0.4, 0.8, 0.8), (20, 25, 24, 28, 31, 34, 33))
    assert bdrate.bd_rate(anchor, dented, "psnr").rate == pytest.approx(0, abs=1e-9)
    assert bdrate.rising([3, 1, 2, 2], [5, 4, 4, 6]) == ([1, 2], [4, 6])


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(-80, 100)), max_size=12))
def test_what_is_kept_rises_and_dominates_the_rest(points):
    kept = list(zip(*bdrate.rising([rate for rate, _ in points], [quality for _, quality in points])))
    assert set(kept) <= set(points)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(kept))
    assert all(any(one[0] <= rate and one[1] >= quality for one in kept) for rate, quality in points)


def test_tables():
    anchor, better = measured(results("webp")), measured(results("leech", gain=1.0))
    short = replace(curve("p", (0.1,), (30,)), name="Paper", published=True)
    deltas = bdrate.bd_table([short, anchor, better], anchor, "psnr")
    assert [delta.name for delta in deltas] == ["LEECH", "Paper"]
    text = bdrate.as_text(deltas, anchor, "psnr")
    assert "against WEBP" in text and "-10.9 %" in text and "Paper, published" in text and "1 point in psnr" in text
    assert bdrate.as_markdown(deltas, anchor, "psnr").splitlines()[2] == "| LEECH | -10.9 % | 26.00..55.00 dB |"
    rows = list(csv.DictReader(io.StringIO(bdrate.as_csv(deltas, anchor, "psnr"))))
    assert float(rows[0]["bd_rate_percent"]) == pytest.approx(-10.91, abs=0.01)
    assert rows[1]["bd_rate_percent"] == "" and rows[1]["published"] == "true" and rows[1]["reason"]


def test_images_of_no_kind_have_no_row_of_their_own():
    found = [results("leech", 1.0), results("webp")]
    groups = bdrate.bd_groups(found, "webp", "psnr", "kind")
    assert [name for name, _ in groups] == ["all"]
    assert bdrate.groups_table(groups, measured(found[1]), "psnr", "text").splitlines()[1].split()[0] == "all"


def test_a_row_for_every_kind_and_the_mean():
    """One kind where the codec gains 1 dB, one where it loses 1 dB, worst first; CSV has the reason for a gap."""

    def both(codec, gains):
        rows = []
        for kind, gain in gains.items():
            rows += [replace(each, image=f"{kind}/{each.image}") for each in results(codec, gain).images]
        settings, columns = means(rows)
        return replace(results(codec), settings=settings, results=columns, images=tuple(rows))

    found = [both("leech", {"photographs": 1.0, "text": -1.0}), both("webp", {"photographs": 0.0, "text": 0.0})]
    groups = bdrate.bd_groups(found, "webp", "psnr", "kind")
    assert [name for name, _ in groups] == ["text", "photographs", "all"]
    assert [group[0].rate for _, group in groups] == pytest.approx([12.25, -10.91, 0], abs=0.01)
    anchor = measured(found[1])
    text = bdrate.groups_table(groups, anchor, "psnr", "text").splitlines()
    assert text[0].split() == ["BD-rate", "(psnr)", "against", "WEBP", "LEECH"]
    assert text[1].split() == ["text", "+12.2", "%"]
    assert bdrate.groups_table(groups, anchor, "psnr", "markdown").splitlines()[-1] == "| all | +0.0 % |"
    rows = list(csv.DictReader(io.StringIO(bdrate.groups_table(groups, anchor, "psnr", "csv"))))
    assert [row["group"] for row in rows] == ["text", "photographs", "all"] and rows[0]["anchor"] == "WEBP"
    images = bdrate.bd_groups(found, "webp", "psnr", "image")
    assert [name for name, _ in images] == ["text/a.png", "photographs/a.png", "mean", "all"]
    rates = [group[0].rate for _, group in images]
    assert rates[2] == pytest.approx((rates[0] + rates[1]) / 2)
    assert images[2][1][0].error == pytest.approx(abs(rates[0] - rates[1]) / 2)
    assert bdrate.groups_table(images, anchor, "psnr", "text").splitlines()[3].split()[1:4] == ["+0.7", "±", "11.6"]


def test_no_mean_where_an_image_has_no_rate():
    found = [results("leech", 1.0), results("webp")]
    apart = [replace(each, image="b.png", psnr=each.psnr + 100) for each in found[0].images]
    same = [replace(each, image="b.png") for each in found[1].images]
    found = [replace(one, images=(*one.images, *more)) for one, more in zip(found, (apart, same))]
    groups = dict(bdrate.bd_groups(found, "webp", "psnr", "image"))
    assert groups["a.png"][0].rate is not None and groups["b.png"][0].rate is None
    assert groups["mean"][0].rate is None and groups["mean"][0].reason == "no rate on 1 of 2 images, so no mean"


def test_one_codec_against_every_other():
    ours, webp, jpeg = (measured(results(key, gain)) for key, gain in (("leech", 1.0), ("webp", 0.0), ("jpeg", 2.0)))
    text = bdrate.of_table([ours, webp, jpeg], ours, "markdown").splitlines()
    assert text[0] == "| BD-rate of LEECH | PSNR | MS-SSIM | SSIMULACRA2 | LPIPS |"
    assert text[2].startswith("| against WEBP | -10.9 % | ") and text[3].startswith("| against JPEG | +12.2 % | ")
    rows = list(csv.DictReader(io.StringIO(bdrate.of_table([ours, webp, jpeg], ours, "csv"))))
    assert [(row["anchor"], row["metric"]) for row in rows[:2]] == [("WEBP", "psnr"), ("WEBP", "ms-ssim")]
    assert len(rows) == 8 and {row["codec"] for row in rows} == {"LEECH"}
    short = measured(results("webp", points=2, lpips=False))
    text = bdrate.of_table([short, jpeg], short, "text").splitlines()
    assert text[0].split()[-1] == "SSIMULACRA2"  # no column for what it has no figure of
    assert text[2] == "–: 2 points in psnr, 4 points are needed"
    for table in (partial(bdrate.of_table, form="text"), partial(bdrate.bd_table, metric="psnr")):
        with pytest.raises(PeerError, match="nothing to compare LEECH with"):
            table([ours], ours)


def test_anchors_by_key_or_name():
    measured_, published = curve("webp", (1,), (1,)), replace(curve("WebP", (1,), (1,)), published=True)
    assert bdrate.find_anchor([published, measured_], "WebP") is measured_
    assert bdrate.find_anchor([published], "webp") is published
    with pytest.raises(PeerError, match="'bsq'"):
        bdrate.find_anchor([measured_], "bsq")


def test_means_are_over_the_images_that_all_have():
    """A codec that fails on a hard image has not gained by it."""

    def over(codec, images):
        rows = [
            replace(each, image=image, psnr=each.psnr - 3 * hard)
            for image, hard in images.items()
            for each in results(codec).images
        ]
        settings, columns = means(rows)
        return replace(results(codec), settings=settings, results=columns, images=tuple(rows))

    found = [over("leech", {"a": 0, "b": 0, "hard": 1}), over("webp", {"a": 0, "b": 0})]
    images, lacking = common_images(found)
    assert (images, lacking) == ({"a", "b"}, ["hard"])
    assert left_out(images, lacking) == "compared over the 2 images that all results have, without hard"
    groups = bdrate.bd_groups(found, "webp", "psnr", "image")
    assert {name for name, _ in groups} == {"a", "b", "mean", "all"}
    assert groups[-1][1][0].rate == pytest.approx(0, abs=1e-6)
    apart = [over("leech", {"a": 0}), over("webp", {"b": 0})]
    other = replace(found[0], images=tuple(replace(row, sha256="f" * 64) for row in found[0].images))
    same = replace(found[1], images=tuple(replace(row, sha256="0" * 64) for row in found[1].images))
    assert common_images([found[0], same]) == ({"a", "b"}, ["hard"])  # files of which nothing is known
    assert "share no image" in left_out(*common_images([other, same]))
    larger = replace(found[1], images=tuple(replace(row, width=9 + (row.image == "b")) for row in found[1].images))
    assert common_images([larger, larger])[1] == [] and common_images([found[0], larger])[1] == ["a", "b", "hard"]
    assert common_images(apart) == ({"a", "b"}, ["a", "b"]) and "share no image" in left_out(*common_images(apart))
