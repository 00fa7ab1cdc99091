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


def test_matrices_over_conditions_are_labelled():
    arch = fl.Architecture(3, 2, 4)
    base = fl.random_regression(arch, 6, 1.0)
    labels = ["tree", "bird", "tree", "fish", "bird", "fish"]
    task, net = fl.Task(base.X, base.Y, labels=labels), fl.balanced_init(arch, -1.0)
    ds = fl.exact(task, net, [0.0, 1.0, 2.0], observables=["rsm_input", "rdm_cosine", "w2w1", "ntk"])
    rdm = fl.plot.matrices(ds.rdm_cosine)
    assert [text.get_text() for text in rdm[0].get_yticklabels()] == ["tree", "bird", "fish"]
    assert [text.get_text() for text in rdm[2].get_xticklabels()] == ["tree", "bird", "fish"]
    assert rdm[0].images[0].get_clim()[0] == 0.0  # A dissimilarity is not negative.
    rsm = fl.plot.matrices(ds.rsm_input, labels=task.labels)
    order = [0, 2, 1, 4, 3, 5]
    assert np.array_equal(rsm[1].images[0].get_array(), ds.rsm_input[1].values[np.ix_(order, order)])
    assert list(rsm[0].get_yticks()) == [0.5, 2.5, 4.5]
    unordered = fl.plot.matrices(ds.rsm_input)
    assert np.array_equal(unordered[1].images[0].get_array(), ds.rsm_input[1])
    assert (unordered[0].get_ylabel(), unordered[0].get_xlabel()) == ("sample", "sample")
    assert (fl.plot.matrices(ds.w2w1)[0].get_ylabel(), fl.plot.matrices(ds.ntk)[0].get_ylabel()) == (
        "output",
        "output, sample",
    )
    with pytest.raises(fl.InputError, match="there are 2 labels and 6 samples"):
        fl.plot.matrices(ds.rsm_input, labels=["a", "b"])
    with pytest.raises(fl.InputError, match="labels are for matrices over samples or conditions; w2w1 has"):
        fl.plot.animation(ds.w2w1, labels=["a", "b"])


def test_more_conditions_than_fit_have_no_names():
    arch = fl.Architecture(3, 2, 4)
    task, net = fl.random_regression(arch, 40, 1.0), fl.balanced_init(arch, -1.0)
    rsm = fl.exact(task, net, [0.0, 1.0], observables=["rsm_input"]).rsm_input
    ax = fl.plot.matrices(rsm, labels=[f"thing {number}" for number in range(40)])[0]
    assert not ax.get_yticks().size
    assert ax.get_ylabel() == "condition"


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
