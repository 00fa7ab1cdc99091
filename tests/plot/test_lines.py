"""Profiles, trajectories and the dynamics of one network."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl
from fastlin.plot.style import COLOURS
from tests import sweeping


def test_profile_draws_mean_and_band(dataset):
    one = dataset.loss.isel(architecture=0, init_scale=0, time=3)
    ax = fl.plot.profile(one, "lam", color="k", label="x")
    assert np.allclose(ax.lines[0].get_ydata(), one.mean("seed"))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(float((one.mean("seed") + one.std("seed", ddof=1)).max()))
    assert ax.get_ylabel().startswith("loss")


def test_values_between_gaps_have_dots(dataset):
    """A part of a sweep, such as one slice, may have no two neighbours. No line goes to their points."""
    one = dataset.loss.isel(architecture=0, init_scale=0, time=3)
    assert fl.plot.profile(one, "lam").lines[0].get_marker() == "None"
    gaps = one.where((one.lam != one.lam[1]) & (one.lam != one.lam[3]))
    line = fl.plot.profile(gaps, "lam").lines[0]
    assert (line.get_marker(), line.get_markevery()) == (".", [0, 2, 4])
    assert fl.plot.profile(gaps, "lam", marker="s").lines[0].get_marker() == "s"


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
            assert dots.get_color() == "black"
            assert line.get_color() in COLOURS
            assert np.abs(line.get_ydata()[::4] - dots.get_ydata()).max() < 0.2
    with pytest.raises(fl.InputError, match="2 axes were given; 5 are needed"):
        fl.plot.dynamics(exact, gd, panels[:2])
    with pytest.raises(fl.InputError, match=r"there is nothing to draw; ask for some of these .*: loss"):
        fl.plot.dynamics(fl.exact(task, net, [0.0, 1.0], observables=["ntk_norm"]))
    wider = fl.Architecture(4, 2, 3)
    other = fl.exact(fl.random_regression(wider, 20, 1.0), fl.balanced_init(wider, 0.0), [0.0, 1.0])
    with pytest.raises(fl.InputError, match="w1tw1 has other sizes in gd than in exact"):
        fl.plot.dynamics(fl.exact(task, net, [0.0, 1.0]), other)


def test_dynamics_draws_default_output_over_the_time_axis_of_figure_1():
    arch = fl.Architecture(3, 2, 3)
    task, net = fl.random_regression(arch, 20, 0.1**0.5), fl.balanced_init(arch, -1.0)
    panels = fl.plot.dynamics(fl.exact(task, net, [0.0, 1.0, 500.0, np.inf]))
    assert [len(ax.lines) for ax in panels] == [1, 9, 9, 9]  # the NTK is drawn only if it is named
    for ax in panels:
        assert ax.get_xscale() == "asinh"
        assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "10", "100"]
        assert ax.get_xlim() == (0.0, 500.0)
    short = fl.plot.dynamics(fl.exact(task, net, [0.0, 1.0]), fl.gradient_descent(task, net, 0.01, 100))
    assert {ax.get_xscale() for ax in short} == {"linear"}
    assert len(short[0].lines) == 2


def test_trajectories_draw_one_network():
    arch = fl.Architecture(3, 2, 3)
    task, net = fl.random_regression(arch, 20, 0.1**0.5), fl.balanced_init(arch, -1.0)
    one = fl.exact(task, net, [0.0, 0.1, 1.0, 9.0, np.inf])
    (line,) = fl.plot.trajectories(one.loss).lines
    assert np.array_equal(line.get_ydata(), one.loss[1:4])
    layers = fl.plot.trajectories(one.weight_norms)
    assert [text.get_text() for text in layers.get_legend().get_texts()] == ["w1", "w2"]
    with pytest.raises(
        fl.InputError, match="'lam' is no dimension that tells lines apart; there is no other"
    ):
        fl.plot.trajectories(one.loss, hue="lam")
    with pytest.raises(fl.InputError, match="dimension 'output' has 3 values; select one first"):
        fl.plot.trajectories(one.w2w1)


def test_the_closed_form_shows_in_a_dark_style():
    arch = fl.Architecture(3, 2, 3)
    names = ["loss", "network_function", "w1tw1", "w2w2t", "ntk"]
    task, net = fl.random_regression(arch, 20, 0.1**0.5), fl.balanced_init(arch, -1.0)
    with plt.style.context("dark_background"):
        exact = fl.exact(task, net, [0.0, 1.0], observables=names)
        both = fl.plot.dynamics(exact, fl.gradient_descent(task, net, 0.01, 100, observables=names))
        alone = fl.plot.dynamics(exact)
    for ax in both:
        half = len(ax.lines) // 2
        assert {line.get_color() for line in ax.lines[half:]} == {"white"}
    assert {line.get_color() for ax in alone for line in ax.lines} <= set(COLOURS)


def test_trajectories_draw_a_line_and_a_band_for_each_value(dataset):
    one = dataset.kernel_distance.isel(architecture=0, init_scale=1)
    ax = fl.plot.trajectories(one, hue="lam")
    assert len(ax.lines) == len(ax.collections) == 5
    mean = one.mean("seed").isel(time=slice(1, -1))
    for line, lam in zip(ax.lines, one.lam, strict=True):
        assert np.allclose(line.get_ydata(), mean.sel(lam=lam))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["$-4$", "$-2$", "$0$", "$2$", "$4$"]
    assert ax.get_xscale() == "log"
    shapes = fl.plot.trajectories(dataset.loss.isel(init_scale=1, lam=0), hue="architecture")
    labels = [text.get_text() for text in shapes.get_legend().get_texts()]
    assert labels == ["4-2-2", "3-4-3", "2-3-4"]


def test_a_sweep_of_time_scales_is_drawn_over_lam(tmp_path):
    axes = sweeping.spec()["axes"] | {"init_scale": [1.0], "architecture": [[1, 1, 1], [4, 2, 4]]}
    output = {"observables": ["rotation_time", "convergence_time"]}
    fl.run_sweep(sweeping.spec(axes=axes, output=output), tmp_path / "s.zarr")
    scales = fl.open_sweep(tmp_path / "s.zarr").load()
    assert np.isinf(scales.convergence_time).any()  # saddles
    for name in output["observables"]:
        figure = fl.plot.sweep(scales, name, "lam", None)
        assert len(figure.axes) == 1
        figure.canvas.draw()


def test_a_sweep_over_one_size_alone_is_a_line(shapes):
    one = shapes.isel(lam=[1], init_scale=[1], time=[3], architecture=[12, 13, 14])
    (ax,) = fl.plot.sweep(one, "loss", "n_i").axes
    assert np.allclose(ax.lines[0].get_ydata(), one.loss.mean("seed").values.ravel())
    assert len(ax.collections) == 1  # the band


def test_a_sweep_of_one_lam_is_drawn_over_time(dataset):
    (ax,) = fl.plot.sweep(dataset.isel(lam=[2], init_scale=[0]), "loss").axes
    assert ax.get_xlabel().startswith("time")
    assert len(ax.lines) == 3
