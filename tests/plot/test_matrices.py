"""Small multiples of matrices, and animations."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import fastlin as fl
from tests import legible


@pytest.fixture(scope="module")
def network():
    arch = fl.Architecture(3, 2, 4)
    task, net = fl.random_regression(arch, 6, 1.0), fl.balanced_init(arch, -1.0)
    return fl.exact(
        task, net, np.linspace(0.0, 3.0, 31), observables=["qqt", "ntk", "loss", "rsm_input", "w2w1"]
    )


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
    names = ["rsm_input", "rdm_cosine", "network_function", "w2w1", "ntk"]
    ds = fl.exact(task, net, [0.0, 1.0, 2.0], observables=names)
    rdm = fl.plot.matrices(ds.rdm_cosine)
    assert [text.get_text() for text in rdm[0].get_yticklabels()] == ["tree", "bird", "fish"]
    assert [text.get_text() for text in rdm[2].get_xticklabels()] == ["tree", "bird", "fish"]
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
    columns = fl.plot.matrices(ds.network_function, labels=list("ababab"))[0]  # only the columns are samples
    assert [text.get_text() for text in columns.get_xticklabels()] == ["a", "b"]
    assert columns.get_ylabel() == "output"
    with pytest.raises(fl.InputError, match="there are 2 labels and 6 samples"):
        fl.plot.matrices(ds.rsm_input, labels=["a", "b"])
    with pytest.raises(fl.InputError, match="labels are for matrices over samples; w2w1 has outputs"):
        fl.plot.animation(ds.w2w1, labels=["a", "b"])


@pytest.fixture(scope="module")
def things():
    """Return a network over time that was trained on nine things, in an order without meaning."""
    arch = fl.Architecture(9, 5, 9)
    base = fl.random_regression(arch, 9, 1.0)
    names = ["canary", "oak", "sunfish", "daisy", "robin", "pine", "salmon", "rose", "monkey"]
    task, net = fl.Task(base.X, base.Y, labels=names), fl.balanced_init(arch, -1.0)
    observables = ["rdm_cosine", "rdm_correlation", "rsm_input", "qqt"]
    return fl.exact(task, net, np.linspace(0.0, 3.0, 8), observables=observables)


def names_of(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def test_an_order_of_conditions_moves_the_cells(things, tmp_path):
    rdm = things.rdm_cosine
    wanted = sorted(rdm.condition.values.tolist())
    cells = rdm.sel(condition=wanted, condition_2=wanted).values
    panels = fl.plot.matrices(rdm, order=wanted)
    for ax, time in zip(panels, (0, 1, 3, 4, 6, 7), strict=True):
        assert np.array_equal(ax.images[0].get_array(), cells[time])
    assert names_of(panels[0].yaxis) == names_of(panels[3].xaxis) == wanted
    _, ax = plt.subplots()
    film = fl.plot.animation(rdm, ax, frames=8, order=np.array(wanted))
    film.save(tmp_path / "rdm.gif", writer="pillow")
    film._func(5)
    assert np.array_equal(ax.images[0].get_array(), cells[5])
    assert names_of(ax.yaxis) == wanted


def test_an_order_of_conditions_sorts_samples(things):
    labels = ["b", "a", "c"] * 3
    ax = fl.plot.matrices(things.rsm_input, labels=labels, order=["c", "a", "b"])[3]
    places = [2, 5, 8, 1, 4, 7, 0, 3, 6]
    assert np.array_equal(ax.images[0].get_array(), things.rsm_input[4].values[np.ix_(places, places)])
    assert names_of(ax.yaxis) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rdm_cosine", {"labels": list("abcdefghi")}, r"rdm_cosine is a matrix over .*; order=\[...\] draws"),
        (
            "rdm_correlation",
            {"order": ["oak", "pine"]},
            "needed is each condition once: canary, oak, sunfish",
        ),
        ("rdm_cosine", {"order": ["oak"] * 9}, r"order is \['oak', .*; needed is each condition once"),
        ("rdm_cosine", {"order": "oak"}, "order is 'oak'; needed is each condition once"),
        ("rdm_cosine", {"order": 3}, "order is 3; needed is each condition once"),
        (
            "rsm_input",
            {"order": ["oak"]},
            r"rsm_input has samples, of which labels=\[...\] are the conditions",
        ),
        ("qqt", {"order": ["oak"]}, "order is that of conditions; qqt has "),
    ],
)
def test_a_wrong_order_is_named(things, name, options, message):
    for draw in (fl.plot.matrices, fl.plot.animation):
        with pytest.raises(fl.InputError, match=message):
            draw(things[name], **options)


def test_all_dissimilarities_have_the_scale_of_their_range(things):
    for name in ("rdm_cosine", "rdm_correlation"):
        for part in (things[name], things[name].isel(time=[0]), 0.1 * things[name].rename(name)):
            assert {ax.images[0].get_clim() for ax in fl.plot.matrices(part)} == {(0.0, 2.0)}
    assert float(things.rdm_correlation.max()) <= 2.0


@pytest.mark.parametrize(("rows", "size"), [(1, (8.0, 2.6)), (2, (8.0, 6.4))])
def test_narrow_panels_have_the_names_of_nine_conditions(things, rows, size):
    figure, grid = plt.subplots(rows, 4, figsize=size, layout="constrained", squeeze=False)
    for row in grid:
        panels = fl.plot.matrices(things.rdm_cosine, row)
        assert names_of(panels[0].yaxis) == names_of(panels[3].xaxis) == things.condition.values.tolist()
        assert not names_of(panels[1].yaxis)
    legible.check(figure)


def test_names_shrink_to_the_smallest_letters_and_no_further(things):
    _, axes = plt.subplots(1, 2, figsize=(8.0, 2.6))
    for count, drawn in ((13, True), (30, False)):
        rdm = things.rdm_cosine.isel(condition=np.arange(count) % 9, condition_2=np.arange(count) % 9)
        names = [f"thing {number}" for number in range(count)]
        axes[0].clear()
        fl.plot.matrices(rdm.assign_coords(condition=names, condition_2=names), axes)
        sizes = {text.get_fontsize() for text in axes[0].get_yticklabels()}
        assert (len(sizes) == 1 and 7.0 <= sizes.pop() < 10.0) if drawn else not sizes
        assert axes[0].get_ylabel() == ("" if drawn else "condition")


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


def of_runs(results):
    """Return results of several networks, along dimensions that no sweep has."""
    return results.expand_dims(run=2, trial=1)


def test_tall_matrices_have_room_for_their_titles():
    arch = fl.Architecture(2, 2, 10)
    task, net = fl.random_regression(arch, n_samples=4), fl.balanced_init(arch, lam=0.0)
    panels = fl.plot.matrices(fl.exact(task, net, [0.0, 1.0, 2.0, 3.5], ["w2w1"]).w2w1)
    legible.check(panels[0].figure)


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
        (lambda n: fl.plot.matrices(n.qqt, [plt.figure().gca(), plt.figure().gca()]), "axes are of several"),
        (lambda n: fl.plot.matrices(n.rsm_input, labels=5), "labels is 5; needed is a text or a number for"),
        (lambda n: fl.plot.matrices(of_runs(n.w2w1)), "has the dimensions run, trial, time, output, input"),
        (lambda n: fl.plot.dynamics(of_runs(n)), "has the dimensions .*; draw one network over time"),
    ],
)
def test_a_wrong_matrix_is_named(network, call, message):
    with pytest.raises(fl.InputError, match=message):
        call(network)
