"""Logarithmic scales."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm

import fastlin as fl


def test_values_that_span_a_decade_are_drawn_on_a_log_scale(dataset):
    one = dataset.loss.isel(architecture=0, init_scale=1)
    wide = one.where(one.lam != 4.0, 100.0 * one).rename("loss")
    ax = fl.plot.phase_diagram(wide)
    assert isinstance(ax.collections[0].norm, LogNorm)
    assert "log scale" in ax.figure.axes[1].get_ylabel()
    plain = fl.plot.phase_diagram(wide, norm="linear")
    assert not isinstance(plain.collections[0].norm, LogNorm)
    assert "log scale" not in plain.figure.axes[1].get_ylabel()
    line = fl.plot.profile(wide.isel(time=3))
    assert line.get_yscale() == "log"
    assert "log scale" in line.get_ylabel()
    assert fl.plot.profile(wide.isel(time=3), log=False).get_yscale() == "linear"
    assert fl.plot.trajectories(wide).get_yscale() == "log"
    distance = wide.rename("kernel_distance")
    assert not isinstance(fl.plot.phase_diagram(distance).collections[0].norm, LogNorm)
    assert isinstance(fl.plot.phase_diagram(distance, norm="log").collections[0].norm, LogNorm)
    negative = fl.plot.phase_diagram(wide - 1.5)
    assert not isinstance(negative.collections[0].norm, LogNorm)
    with pytest.raises(
        fl.InputError, match=r"loss is -.* at its lowest; a logarithmic scale cannot show that"
    ):
        fl.plot.phase_diagram(-wide, norm="log")
    with pytest.raises(fl.InputError, match="loss has no positive value"):
        fl.plot.profile(0.0 * wide.isel(time=3), log=True)


def test_zeros_have_a_colour_on_a_log_scale(dataset):
    one = dataset.loss.isel(architecture=0, init_scale=1)
    zeros = one.where(one.lam != 0.0, 0.0).rename("loss")
    ax = fl.plot.phase_diagram(zeros, norm="log")
    mesh = ax.collections[0]
    colours = mesh.cmap(mesh.norm(mesh.get_array()))[:, 2]
    assert np.allclose(colours, mesh.cmap(0.0))
    assert "0 in its first colour" in ax.figure.axes[1].get_ylabel()
    ax.figure.canvas.draw()


def test_zeros_of_one_architecture_have_no_place_on_a_log_scale(dataset):
    loss = dataset.loss.where(dataset.lam != 4.0, 100.0 * dataset.loss)
    zeros = dataset.assign(loss=loss.where(dataset.architecture != "3-4-3", 0.0))
    figure = fl.plot.sweep(zeros.isel(time=[3]), "loss")
    figure.canvas.draw()
    (lines,) = [ax for ax in figure.axes if ax.lines]
    assert lines.get_yscale() == "log"
    assert "log scale, without $0$" in lines.get_ylabel()
    drawn = [np.isfinite(line.get_ydata()).any() for line in lines.lines]
    assert drawn == [True, False, True]
    one = zeros.loss.isel(init_scale=1, time=[1, 2, 3], lam=0)
    assert fl.plot.trajectories(one, "architecture", log=True).get_yscale() == "log"
    none = zeros.assign(loss=0.0 * zeros.loss)
    with pytest.raises(fl.InputError, match="loss has no positive value"):
        fl.plot.pages(none, "loss", style=fl.plot.Style(log=True))
