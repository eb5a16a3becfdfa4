import argparse
import json
from dataclasses import asdict, replace

import pytest

pytest.importorskip("scipy")
pytest.importorskip("bjontegaard")

from leechcodec.errors import ConfigError
from leechcodec.lab import curves
from leechcodec.lab.comparison import compare_quantizers, quantizer_runs
from leechcodec.lab.comparison.quantizer_runs import Run
from leechcodec.lab.comparison.twins import config_of, seconds_a_step
from leechcodec.quantizers import make_quantizer
from leechcodec.training.settings import load_settings
from tests.places import ROOT

pytestmark = pytest.mark.slow

CONFIG = ROOT / "configs" / "twin.toml"
RUN = Run(
    variant="bsq-18",
    seed=1,
    config="",
    quantizer="bsq-18",
    bits=18.0,
    steps=10,
    seconds_a_step=0.5,
    quality=compare_quantizers.DIAL,
    bpp=(0.1, 0.2, 0.4, 0.8, 1.6),
    fixed_bpp=(0.2, 0.4, 0.8, 1.6, 3.2),
    psnr=(25.0, 27.0, 29.0, 31.0, 33.0),
    ms_ssim=(8.0, 10.0, 12.0, 14.0, 16.0),
    lpips=(None,) * 5,
    entropy=9.0,
    used=100,
    tokens=1000,
)


def at_rate(factor: float, **changes) -> Run:
    return replace(RUN, bpp=tuple(factor * rate for rate in RUN.bpp), **changes)


def test_interval_is_students():
    found = quantizer_runs.interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.count == 3
    assert found.half == pytest.approx(4.303 / 3**0.5, abs=1e-3)
    assert quantizer_runs.interval([5.0]).half is None and quantizer_runs.interval([]) is None


def test_rates_are_of_pairs_of_one_seed():
    anchor = [RUN, at_rate(2.0, seed=2)]
    ours = [at_rate(0.9, variant="leech"), at_rate(1.8, variant="leech", seed=2), at_rate(9.0, variant="leech", seed=3)]
    rates = quantizer_runs.rates_against(anchor, ours, curves.PSNR)
    assert rates == [pytest.approx(-10.0, abs=1e-6)] * 2
    assert quantizer_runs.rates_against(anchor, ours, curves.LPIPS) == []


def test_table_and_figure(tmp_path):
    pytest.importorskip("matplotlib")
    runs = [RUN, at_rate(2.0, seed=2), at_rate(0.9, variant="leech"), at_rate(1.9, variant="leech", seed=2)]
    rows = quantizer_runs.table(runs, "bsq-18")
    assert [row[0] for row in rows] == ["bsq-18", "leech"] and rows[0][2] == ""
    assert rows[1][2].startswith("-7.5 % ±") and rows[1][4] == "–"
    assert {len(row) for row in rows} == {len(quantizer_runs.HEADER)}
    (turned,) = [row for row in quantizer_runs.table(runs, "leech", turned=True) if row[0] == "bsq-18"]
    assert turned[2] == rows[1][2]
    assert [curve.bpp[0] for curve in quantizer_runs.mean_curves(runs)] == pytest.approx([0.15, 0.14])
    quantizer_runs.draw(runs, "bsq-18", tmp_path / "figure.svg")
    assert "BD-rate against bsq-18" in (tmp_path / "figure.svg").read_text()


def test_rates_of_every_seed_are_sorted():
    runs = [RUN, at_rate(2.0, seed=2), at_rate(0.9, variant="leech"), at_rate(1.9, variant="leech", seed=2)]
    runs += [at_rate(0.5, variant="best"), at_rate(0.5, variant="without a pair", seed=9)]
    rows = quantizer_runs.rates_table(runs, "bsq-18")
    assert [row[0] for row in rows] == ["best", "leech", "without a pair"]
    assert rows[0][1] == "-50.0 %" and rows[1][4] == "-10.0, -5.0" and rows[1][6] == "–" and rows[2][1] == "–"
    assert quantizer_runs.rates_table(runs, "bsq-18", turned=True)[-1][4] == "–"
    assert {len(row) for row in rows} == {len(quantizer_runs.RATES_HEADER)}


def test_collected_runs_come_back(tmp_path):
    path = tmp_path / "runs.json"
    path.write_text(json.dumps([asdict(RUN)]))
    assert quantizer_runs.collected(path) == [RUN]


def test_every_variant_is_a_config(tmp_path):
    for changes in compare_quantizers.VARIANTS.values():
        path = config_of(CONFIG, changes, 7, tmp_path / str(changes) / "config.toml")
        config, settings = load_settings(path)
        assert config.quantizer == changes["quantizer"] == make_quantizer(config.quantizer).name
        assert settings.seed == 7 and settings.entropy_weight == changes.get("entropy_weight", 0.0)


def test_a_run_begun_with_another_config_is_refused(tmp_path):
    path = config_of(CONFIG, {"steps": 10}, 1, tmp_path / "config.toml")
    assert config_of(CONFIG, {"steps": 10}, 1, path) == path
    with pytest.raises(ConfigError, match="begun with another config"):
        config_of(CONFIG, {"steps": 20}, 1, path)


def test_pace_is_a_median(tmp_path):
    rows = [{"step": 50 * i, "seconds": 25.0 * i + (100 if i > 3 else 0)} for i in range(1, 8)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"step": 350, "validation": {}}])))
    assert seconds_a_step(tmp_path) == 0.5


def test_a_run_of_another_config_does_not_pass_for_this_one_s(tmp_path):
    args = argparse.Namespace(config=CONFIG, out=tmp_path)
    folder = tmp_path / "bsq-18-1"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(asdict(RUN)))
    with pytest.raises(ConfigError, match="of another config"):
        compare_quantizers.run_of("bsq-18", 1, args)
    found = replace(RUN, config=compare_quantizers.digest(CONFIG, "bsq-18", 1))
    (folder / "run.json").write_text(json.dumps(asdict(found)))
    assert compare_quantizers.run_of("bsq-18", 1, args) == found
