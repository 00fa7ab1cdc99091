"""Small multiples of matrices, and animations."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import fastlin as fl


@pytest.fixture(scope="module")
def network():
    arch = fl.Architecture(3, 2, 4)
    task, net = fl.random_regression(arch, 6, 1.0), fl.balanced_init(arch, -1.0)
    return fl.exact(task, net, np.linspace(0.0, 3.0, 31), observables=["qqt", "ntk", "loss", "rsm_input"])


def test_matrices_are_small_multiples_on_one_symmetric_scale(network):
    panels = fl.plot.matrices(network.ntk)
    assert len(panels) == 6
    kernels = network.ntk.values.reshape(31, 24, 24)
    for ax, index in zip(panels, [0, 6, 12, 18, 24, 30], strict=True):
        (image,) = ax.images
        assert np.array_equal(image.get_array(), kernels[index])
        largest = np.abs(kernels[::6]).max()
        assert image.get_clim() == (-largest, largest)
        assert ax.get_title() == rf"$t/\tau = {network.time.values[index]:.3g}$"
    _, targets = plt.subplots(1, 2)
    drawn = fl.plot.matrices(network.rsm_input, targets)
    assert [ax.get_title() for ax in drawn] == [r"$t/\tau = 0$", r"$t/\tau = 3$"]


def test_an_animation_is_written_as_gif(network, tmp_path):
    figure, target = plt.subplots(figsize=(2, 2))
    film = fl.plot.animation(network.qqt, target, frames=5)
    film.save(tmp_path / "qqt.gif", writer="pillow")
    with Image.open(tmp_path / "qqt.gif") as picture:
        assert picture.n_frames == 5
    (image,) = target.images
    film._func(3)
    assert np.array_equal(image.get_array(), network.qqt.values[round(3 * 30 / 4)])
    assert len(figure.axes) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: fl.plot.matrices(n.loss), "loss has the dimensions time; needed is a matrix"),
        (lambda n: fl.plot.matrices(n.qqt.isel(time=0)), "needed is a matrix of one network over time"),
        (lambda n: fl.plot.matrices(n.qqt.isel(time=[0]), plt.subplots(1, 2)[1]), "2 axes were given for 1"),
        (lambda n: fl.plot.animation(n.qqt, frames=0), "frames is 0; allowed is 1"),
        (lambda n: fl.plot.matrices(n.qqt.isel(time=[])), "qqt is empty"),
        (lambda n: fl.plot.animation(n.qqt.isel(time=[])), "qqt is empty"),
        (lambda n: fl.plot.matrices(n.qqt, []), r"axes is \[\]; needed are Axes, one at least"),
        (lambda n: fl.plot.matrices(n.qqt, 3), "axes is 3; needed are Axes"),
        (lambda n: fl.plot.dynamics(n, axes=3), "axes is 3; needed are Axes"),
        (lambda n: fl.plot.animation(n.qqt, ax=3), "ax is 3; needed is one of class Axes"),
    ],
)
def test_a_wrong_matrix_is_named(network, call, message):
    with pytest.raises(fl.InputError, match=message):
        call(network)
