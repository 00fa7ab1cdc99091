"""Phase diagrams: means over seeds, cells, contours and colour bars."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl


def test_phase_diagram_draws_the_mean_over_seeds(dataset):
    one = dataset.kernel_distance.isel(architecture=0, init_scale=1)
    figure, target = plt.subplots()
    ax = fl.plot.phase_diagram(one, x="lam", y="time", ax=target)
    assert ax is target
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


def test_contours_are_where_the_mean_crosses_a_threshold(dataset):
    one = dataset.kernel_distance.isel(architecture=0, init_scale=1)
    ax = fl.plot.phase_diagram(one, contours=(0.02, 0.1, 7.0))
    mesh, lines = ax.collections
    assert list(lines.levels) == [0.02, 0.1]  # no value crosses 7
    mean = one.mean("seed").sel(lam=0.0)
    (path,) = (path for level, path in zip(lines.levels, lines.get_paths(), strict=True) if level == 0.1)
    at_zero = path.vertices[np.abs(path.vertices[:, 0]) < 1e-9, 1]
    for moment in at_zero:
        after = int(np.searchsorted(mean.time, moment))
        low, high = sorted(mean.values[[after - 1, after]])
        assert low <= 0.1 <= high
    assert at_zero.size
    assert mesh.get_array().size == 25


def test_no_cell_of_an_axis_from_0_reaches_below_it(dataset):
    one = dataset.loss.isel(architecture=0, init_scale=1, time=[0, 3, 4])
    assert fl.plot.phase_diagram(one.assign_coords(time=[0.0, 5.0, 10.0])).get_ylim()[0] == 0.0


def test_values_that_are_equal_up_to_rounding_are_drawn_as_constant(dataset):
    start = dataset.isel(time=[0])
    noise = start.kernel_distance.mean("seed")
    assert 0 < noise.max() < 1e-14
    figure = fl.plot.sweep(start)
    *_, mesh = (ax.collections[0] for ax in figure.axes[:3])
    assert mesh.norm.vmax - mesh.norm.vmin >= 0.1
    assert np.ptp(figure.axes[3].get_ylim()) >= 0.1
    equal = dataset.loss.isel(architecture=0, init_scale=1, time=[2, 3]) * 0.0 + 61.0
    equal = equal + 1e-14 * dataset.lam
    assert np.ptp(equal.values) > 0
    norm = fl.plot.phase_diagram(equal).collections[0].norm
    assert norm.vmin < 60.0 < 62.0 < norm.vmax
    assert np.ptp(fl.plot.profile(equal.isel(time=0)).get_ylim()) > 1.0
    apart = fl.plot.phase_diagram(equal + 1e-9 * dataset.lam).collections[0].norm
    assert apart.vmax - apart.vmin < 1e-7
    with pytest.raises(fl.InputError, match="kernel_distance has no positive value"):
        fl.plot.sweep(start, style=fl.plot.Style(log=True))
    tiny = dataset.loss.isel(architecture=0, init_scale=1) * 1e-20
    limits = fl.plot.phase_diagram(tiny).collections[0].get_clim()
    assert limits[1] < 1e-17  # The loss has no size of its own: a small one is not rounding.
