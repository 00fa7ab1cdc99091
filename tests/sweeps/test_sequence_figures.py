"""The figures of tasks in a row: they draw the computed numbers, and their captions hold."""

import math

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

import fastlin as fl
from fastlin.observables.relearning import reversal_times
from fastlin.sweeps import figures, presets
from fastlin.sweeps.figures import forgetting, reversal, transfer
from fastlin.sweeps.figures.swept import swept
from tests import legible

MODULES = {"reversal": reversal, "forgetting": forgetting, "transfer": transfer}


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """Presets of two seeds."""
    folder = tmp_path_factory.mktemp("presets")
    with pytest.MonkeyPatch.context() as patch:
        for name, module in MODULES.items():
            text = presets.text(name).replace("num = 20 }\nlam", "num = 2 }\nlam")
            (folder / f"{name}.toml").write_text(text)
            patch.setattr(module, "PRESET", f"{name}.toml")
        patch.chdir(folder)
        yield


@pytest.fixture(scope="module")
def measured():
    return {
        "reversal": reversal.measure(),
        "forgetting": swept(forgetting.PRESET),
        "transfer": swept(transfer.PRESET),
    }


@pytest.fixture(scope="module")
def drawn(measured):
    return {name: MODULES[name].compose(measured[name]) for name in MODULES}


def text(figure):
    return "\n".join(entry.get_text() for entry in figure.findobj(mpl.text.Text))


def heights(ax, label):
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(line.get_ydata(), dtype=float)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODULES))
def test_presets_run_without_a_failure(name, tmp_path):
    report = fl.run_sweep(MODULES[name].PRESET, tmp_path / "s.zarr")
    assert report.ok == report.points
    assert presets.summary(name)


def test_reversals_meet_their_closed_form(measured, drawn):
    times = measured["reversal"].half_times
    assert reversal.deviation(times) < 1e-7
    over_lam = drawn["reversal"].axes[0]
    closed = reversal_times(np.ones(times.lam.size - 1), times.lam.values[1:])
    assert np.allclose(heights(over_lam, r"$\infty$"), closed, rtol=1e-7)
    assert np.allclose(heights(over_lam, r"$\infty$, formula"), closed[::3])


def test_rich_networks_take_longer_the_longer_they_have_learned(measured, drawn):
    lengths = measured["reversal"].half_times.duration.values[:-1]
    rich, lazy = (heights(drawn["reversal"].axes[1], label) for label in ("$0$", "$1$"))
    assert lengths[-1] - lengths[-3] == pytest.approx(rich[-1] - rich[-3], rel=0.1)
    assert lazy[-1] == pytest.approx(float(reversal_times(1.0, 1.0)), rel=1e-6)
    assert np.isinf(measured["reversal"].half_times.sel(lam=0.0, duration=math.inf)).all()


def test_modes_follow_their_closed_form(measured):
    for lam in reversal.CURVES:
        curve = measured["reversal"].curves.sel(lam=lam)
        assert np.allclose(curve, reversal.mode(reversal.TIMES, lam), atol=1e-9)
        assert reversal.mode(reversal_times(1.0, lam), lam) == pytest.approx(0.0, abs=1e-12)


def test_forgetting_is_that_of_the_formula(measured, drawn):
    lost = measured["forgetting"].forgetting.sel(stage=1, task=0)
    assert forgetting.squared_target() == 7.25
    assert forgetting.deviation(lost) < 1e-12
    (line, *markers) = drawn["forgetting"].axes[0].lines
    for marker in markers[:2]:
        assert np.allclose(marker.get_ydata(), line.get_ydata(), atol=1e-10)
    assert f"{forgetting.deviation(lost):.0e}" in text(drawn["forgetting"])
    saddle = lost.sel(similarity=-1.0, lam=0.0)
    assert np.allclose(saddle, forgetting.squared_target() / 2)


def test_what_the_captions_say_of_rich_and_lazy_networks(measured):
    """Rich networks learn again faster, and fine-tune faster, than from small weights; lazy ones do not."""
    again = measured["forgetting"].relearning_time.sel(similarity=0.0, method="nearest").median("seed")
    tuned = measured["transfer"].relearning_time.sel(duration=math.inf).sel(similarity=0.0, method="nearest")
    for times, later in ((again, 2), (tuned.median("seed"), 1)):
        gain = times.sel(stage=0) / times.sel(stage=later)
        assert gain.sel(lam=0.0) > 1.5
        assert gain.sel(lam=6.0) == pytest.approx(1.0, abs=0.05)
    course = measured["forgetting"].loss.sel(
        stage=1, task=0, time=forgetting.MOMENT, similarity=0.0, method="nearest"
    )
    assert course.mean("seed").sel(lam=6.0) > 2.0 * course.mean("seed").sel(lam=0.0)


@pytest.mark.parametrize("name", list(MODULES))
def test_captions_tell_the_preset_and_fit(name, drawn):
    figure = drawn[name]
    assert f"Preset: {MODULES[name].PRESET}" in text(figure)
    legible.check(figure)


def test_a_figure_is_drawn_by_its_name(tmp_path):
    assert list(figures.NAMES)[3:6] == list(MODULES)
    picture = figures.draw("reversal", tmp_path / "reversal.png")
    assert imread(picture).shape[1] == 1200
