"""Those of the tools that have gone wrong before."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from torch.autograd import DeviceType

from leechcodec.testing.tiny import LAYOUT
from tests.lab.lab_files import picture
from tools import bench_coder, compare_decoders, count_kernels, oldest, profile_training
from tools.checks import device, functions, many_files, ssimulacra2


def event(name, kind, seconds, annotation=False):
    return SimpleNamespace(
        key=name, device_type=kind, is_user_annotation=annotation,
        self_device_time_total=seconds * 1e6, self_cpu_time_total=1e6,
    )  # fmt: skip


def test_a_profile_on_a_device_counts_every_kernel_once():
    events = [
        event("aten::mm", DeviceType.CPU, 3.0), event("copy", DeviceType.CUDA, 1.0),
        event("sm90_gemm", DeviceType.CUDA, 3.0), event("step", DeviceType.CUDA, 4.0, annotation=True),
    ]  # fmt: skip
    assert profile_training.own_seconds(events, on_device=True) == [("sm90_gemm", 3.0), ("copy", 1.0)]
    assert len(profile_training.own_seconds(events, on_device=False)) == 4
    matrix = profile_training.MATRIX_KERNELS.search
    assert matrix("nvjet_tst_128x8") and matrix("conv_depthwise2d") and not matrix("converttensor_kernel")


@pytest.mark.slow
def test_a_step_with_weights_cast_once_has_fewer_operators(tmp_path):
    config = tmp_path / "tiny.toml"
    layout = "".join(f"{key} = {json.dumps(value)}\n" for key, value in LAYOUT.items())
    config.write_text(f"[model]\n{layout}\n[training]\nrate_start = 1.0\nrate_tokens = 4096\n")
    plain, cast = (count_kernels.count(config, 4, cast) for cast in (False, True))
    assert list(plain) == list(cast) == ["forward", "backward", "update"]
    assert plain["update"] == cast["update"] and plain["update"]["_fused_adamw_"]
    for part in ("forward", "backward"):
        assert 0 < cast[part].total() < plain[part].total()
        assert plain[part]["convolution" if part == "forward" else "convolution_backward"] > 20
        assert not plain[part]["view"] and not plain[part]["t"]


def test_small_pictures_have_no_part_in_a_mean():
    assert compare_decoders.mean_of([None, 1.0, 3.0]) == 2.0
    assert np.isnan(compare_decoders.mean_of([None, float("nan")]))


def test_a_missing_tool_is_one_line(tmp_path, monkeypatch):
    picture().save(tmp_path / "a.png")
    monkeypatch.setattr(sys, "argv", ["ssimulacra2", str(tmp_path / "a.png"), "--tool", "no-such-tool"])
    with pytest.raises(SystemExit, match="no command no-such-tool"):
        ssimulacra2.main()


def test_checks_run_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert functions.main() == 0 and "functions, the longest" in capsys.readouterr().out
    assert many_files.SAMPLE.is_file() and device.SAMPLE.is_file()


def test_the_example_of_the_oldest_versions_fits(monkeypatch, capsys):
    example = next(line.split("--except ")[1].split()[0] for line in oldest.__doc__.splitlines() if "--except" in line)
    monkeypatch.setattr(sys, "argv", ["oldest", "--except", example])
    assert oldest.main() == 0
    versions = capsys.readouterr().out
    assert versions.startswith("click==") and example not in versions


def test_the_coders_bench_records_every_token(tmp_path, released):
    count = bench_coder.record(tmp_path / "case.npz", picture(64, 64), 30)
    with np.load(tmp_path / "case.npz") as case:
        assert count == sum(len(case[name]) for name in case.files if name.startswith("codes")) > 0
