"""What the commands that look into a file say of its detail layer."""

import json

import pytest
from click.testing import CliRunner

from leechcodec.apps.cli import main
from leechcodec.codec import api
from leechcodec.codec.dial import tokens_quality
from tests.lab.lab_files import picture


@pytest.fixture
def files(tmp_path, tiny_folder):
    for name, quality in (("plain.lq", 60), ("layered.lq", 94.5)):
        (tmp_path / name).write_bytes(api.compress(picture(70, 50), quality=quality, model=tiny_folder))
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result


def test_info(files):
    facts = json.loads(run("info", files / "layered.lq", "--json").stdout)
    assert facts["quality"] == 94.5 and facts["detail"]["tokens_quality"] == tokens_quality(94.5)
    assert 1 < facts["detail"]["step"] < 60
    told = run("info", files / "layered.lq").stdout
    step, below = facts["detail"]["step"], facts["detail"]["tokens_quality"]
    assert f"detail layer of step {step:.2f} levels, on tokens of quality {below:g}" in told
    assert "detail layer" not in run("info", files / "plain.lq").stdout
    assert "detail" not in json.loads(run("info", files / "plain.lq", "--json").stdout)


@pytest.mark.parametrize("command", ["tokenize", "tokens"])
def test_tokens_say_what_they_leave_out(files, tiny_folder, command):
    if command == "tokens":
        pytest.importorskip("matplotlib", reason="maps of tokens are drawn by matplotlib")
    suffix = ".npz" if command == "tokenize" else ".png"
    for name in ("plain", "layered"):
        output = files / f"{name}{suffix}"
        told = run(command, files / f"{name}.lq", "-o", output, "--model", tiny_folder).stderr
        assert ("its detail layer (" in told) == (name == "layered") and output.exists()
