"""Pictures: what is drawn is what the data say, and nothing global changes."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl
from tests import sweeping


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("plot") / "small.zarr"
    times = [0.0, 0.1, 0.3, 1.0, 10.0, 100.0, float("inf")]
    fl.run_sweep(sweeping.spec(dynamics={"times": times}), path)
    return fl.open_sweep(path).load()


@pytest.fixture(autouse=True)
def clean():
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def test_phase_diagram_draws_the_mean_over_seeds(dataset):
    one = dataset.kernel_distance.isel(architecture=0, init_scale=1)
    figure, given = plt.subplots()
    ax = fl.plot.phase_diagram(one, x="lam", y="time", ax=given)
    assert ax is given
    drawn = ax.collections[0].get_array().reshape(5, 5)
    assert np.allclose(drawn, one.mean("seed").transpose("time", "lam").isel(time=slice(1, -1)))
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    assert r"\lambda" in ax.get_xlabel()
    assert r"t/\tau" in ax.get_ylabel()
    low, high = ax.get_ylim()
    assert low < 0.1
    assert high > 100
    assert figure.axes[1].get_ylabel() == "kernel distance $S$"


def test_phase_diagram_over_other_axes(dataset):
    ax = fl.plot.phase_diagram(dataset.loss.isel(architecture=1, time=-1), x="lam", y="init_scale")
    assert r"\sigma" in ax.get_ylabel()
    shared = dataset.loss.isel(architecture=1, time=-1)
    ax = fl.plot.phase_diagram(shared, "init_scale", "lam", vmin=0.0, vmax=1.0, cmap="viridis")
    assert len(ax.figure.axes) == 1
    assert ax.collections[0].get_clim() == (0.0, 1.0)


def test_profile_draws_mean_and_band(dataset):
    one = dataset.loss.isel(architecture=0, init_scale=0, time=3)
    ax = fl.plot.profile(one, "lam", color="k", label="x")
    assert np.allclose(ax.lines[0].get_ydata(), one.mean("seed"))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(float((one.mean("seed") + one.std("seed", ddof=1)).max()))
    assert ax.get_ylabel().startswith("loss")


def test_dynamics_draws_lines_and_black_dots():
    arch = fl.Architecture(3, 2, 3)
    task, net = fl.random_regression(arch, 20, 0.1**0.5), fl.balanced_init(arch, -1.0)
    names = ["loss", "network_function", "w1tw1", "w2w2t", "ntk"]
    gd = fl.gradient_descent(task, net, 0.01, 200, every=10, observables=names)
    exact = fl.exact(task, net, gd.time[::4], observables=names)
    panels = fl.plot.dynamics(exact, gd)
    assert len(panels) == 5
    assert np.allclose(panels[0].lines[0].get_ydata(), gd.loss)
    assert np.allclose(panels[0].lines[1].get_ydata(), exact.loss)
    for ax, count in zip(panels, [1, 9, 9, 9, 9], strict=True):
        assert len(ax.lines) == 2 * count
        for line, dots in zip(ax.lines[:count], ax.lines[count:], strict=True):
            assert dots.get_color() == "k"
            assert line.get_color() != "k"
            assert np.abs(line.get_ydata()[::4] - dots.get_ydata()).max() < 0.2
    with pytest.raises(fl.InputError, match="lacks 'ntk'"):
        fl.plot.dynamics(fl.exact(task, net, [0.0, 1.0]))
    with pytest.raises(fl.InputError, match="2 axes were given; 5 are needed"):
        fl.plot.dynamics(exact, gd, panels[:2])


def test_sweep_shares_one_scale(dataset):
    figure = fl.plot.sweep(dataset, "kernel_distance", "lam", None)
    diagrams = figure.axes[:3]
    assert len({panel.collections[0].get_clim() for panel in diagrams}) == 1
    assert [panel.get_title() for panel in diagrams] == ["funnel 4-2-2", "wide 3-4-3", "between 2-3-4"]
    assert len(figure.axes[3].lines) == 3
    assert r"\infty" in figure.axes[3].get_title()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: fl.plot.phase_diagram(d.loss), "dimension 'architecture' has 3 values; select one"),
        (lambda d: fl.plot.phase_diagram(d.loss, "lam", "lam"), "two dimensions are needed"),
        (lambda d: fl.plot.phase_diagram(d.loss, "lambda"), "'lambda' is no dimension here"),
        (lambda d: fl.plot.profile(d.loss, "lam"), "select one first"),
        (lambda d: fl.plot.sweep(d, "los", "lam", None), "did you mean 'loss'"),
        (lambda d: fl.plot.sweep(d, "weight_norms", "lam", None), "value per layer"),
        (
            lambda d: fl.plot.phase_diagram(d.loss.isel(architecture=0, init_scale=0, lam=[2])),
            "lam has fewer than two values",
        ),
    ],
)
def test_bad_input_is_named(dataset, call, message):
    with pytest.raises(fl.InputError, match=message):
        call(dataset)
