import pytest
from click.testing import CliRunner

from leechcodec.apps.cli import main
from leechcodec.lab import limits, rate_limits
from leechcodec.lab.errors import ResultsError
from leechcodec.lab.figures import check_figure, save_figure


@pytest.mark.parametrize("suffix", [".svg", ".PNG", ".pdf"])
def test_the_same_data_make_the_same_file(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    for name in "ab":
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 4])
        save_figure(figure, tmp_path / f"{name}{suffix}")
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second and b"Date" not in first


@pytest.mark.parametrize("name", ["a.foo", "a", ".png"])
def test_other_names_are_refused(tmp_path, name):
    for refused in (lambda: check_figure(tmp_path / name), lambda: save_figure(None, tmp_path / name)):
        with pytest.raises(ResultsError, match="the figure's name ends in"):
            refused()


@pytest.mark.parametrize("option", [[], ["--rates"]])
def test_a_name_is_refused_before_anything_is_computed(tmp_path, monkeypatch, option):
    for module, name in ((limits, "limits"), (rate_limits, "rate_limits")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("computed"))
    result = CliRunner().invoke(main, ["limits", *option, "-o", str(tmp_path / "a.foo")])
    assert result.exit_code == 1 and "ends in .svg, .png, .pdf" in result.stderr
