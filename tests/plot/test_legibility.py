"""Pictures are legible at 800 pixels, in light and dark, and lines that coincide both show."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl
from fastlin.plot.style import distinct
from fastlin.plot.themes import PALETTES, contrast
from tests import legible


def network():
    """Return a small network by both solvers, with the labels of its four samples."""
    arch = fl.Architecture(3, 2, 3)
    base = fl.random_regression(arch, 4, 1.0)
    task = fl.Task(base.X, base.Y, labels=["robin", "oak", "pine", "salmon"])
    net = fl.balanced_init(arch, -1.0)
    names = ["loss", "network_function", "w1tw1", "w2w2t", "ntk", "qqt", "rsm_input", "rdm_cosine"]
    gd = fl.gradient_descent(task, net, 0.01, 4000, every=100, observables=names)
    return task, fl.exact(task, net, gd.time, observables=names), gd


@pytest.fixture(scope="module")
def one():
    return network()


PICTURES = {
    "row": lambda d, n: fl.plot.sweep(d.isel(architecture=[0]), y="time"),
    "rows": lambda d, n: fl.plot.sweep(d, y="time"),
    "scales": lambda d, n: fl.plot.sweep(d, "loss", y="init_scale"),
    "flat": lambda d, n: fl.plot.sweep(d.isel(time=[3], init_scale=[0])),
    "sizes": lambda d, n: fl.plot.sweep(d, "loss", "n_i", "n_h"),
    "phase diagram": lambda d, n: fl.plot.phase_diagram(first(d), contours=(0.05, 0.15)).figure,
    "trajectories": lambda d, n: fl.plot.trajectories(first(d)).figure,
    "profile": lambda d, n: fl.plot.profile(first(d).isel(time=3)).figure,
    "dynamics": lambda d, n: fl.plot.dynamics(n[1], n[2])[0].figure,
    "dynamics alone": lambda d, n: fl.plot.dynamics(n[1])[0].figure,
    "qqt": lambda d, n: fl.plot.matrices(n[1].qqt)[0].figure,
    "ntk": lambda d, n: fl.plot.matrices(n[1].ntk)[0].figure,
    "rdm": lambda d, n: fl.plot.matrices(n[1].rdm_cosine)[0].figure,
    "rsm": lambda d, n: fl.plot.matrices(n[1].rsm_input, labels=n[0].labels)[0].figure,
}


def first(dataset):
    return dataset.kernel_distance.isel(architecture=0, init_scale=1)


@pytest.mark.parametrize("name", list(PICTURES))
def test_texts_are_large_on_the_page_and_apart(dataset, one, name):
    figure = PICTURES[name](dataset, one)
    legible.check(figure)
    with fl.plot.in_dark(figure):
        for text in legible.texts(figure):
            assert text.get_path_effects() or contrast(text.get_color(), PALETTES["dark"][1]) > 7


def test_pages_of_many_architectures_are_legible(shapes):
    for page in fl.plot.pages(shapes, "loss", "lam", "time"):
        legible.check(page)


def test_the_check_finds_texts_that_overlap_or_are_small():
    figure, ax = plt.subplots(figsize=(8, 4))
    ax.text(0.5, 0.5, "one")
    legible.check(figure)
    second = ax.text(0.51, 0.5, "two")
    with pytest.raises(AssertionError, match="'one' overlaps 'two'"):
        legible.check(figure)
    second.set(position=(0.2, 0.2), fontsize=6)
    with pytest.raises(AssertionError, match=r"'two' has 8\.3 pixels"):
        legible.check(figure)
    second.set(position=(0.0, -3.0), fontsize=10)
    with pytest.raises(AssertionError, match="'two' is cut off"):
        legible.check(figure)


def test_lines_of_a_page_differ_in_colour_and_dashes(dataset, shapes):
    pair = dataset.isel(architecture=[0, 1])
    both = pair.assign(loss=pair.loss.isel(architecture=0).expand_dims(architecture=pair.architecture))
    (ax,) = [ax for ax in fl.plot.sweep(both, "loss", y="time").axes if len(ax.lines) == 2]
    lower, upper = ax.lines
    assert np.array_equal(lower.get_ydata(), upper.get_ydata())
    assert not lower.is_dashed()
    assert upper.is_dashed()  # The lower one shows between its dashes.
    (many,) = [ax for ax in next(iter(fl.plot.pages(shapes, "loss"))).axes if len(ax.lines) == 12]
    assert [line.get_color() for line in many.lines] == [distinct(index)["color"] for index in range(12)]
    assert len({str(distinct(index)) for index in range(35)}) == 35


def test_trajectories_of_opposite_lam_both_show(dataset):
    ax = fl.plot.trajectories(first(dataset))
    assert [line.is_dashed() for line in ax.lines] == [True, True, False, False, False]


def test_a_profile_over_another_one_has_other_dashes(dataset):
    late = first(dataset).isel(time=3)
    ax = fl.plot.profile(late)
    fl.plot.profile(late, ax=ax)
    fl.plot.profile(late, ax=ax, c="k", ls=":")
    assert [line.is_dashed() for line in ax.lines] == [False, True, True]
    assert (ax.lines[2].get_color(), ax.lines[2].get_linestyle()) == ("k", ":")


def test_the_closed_form_is_a_thin_line_on_gradient_descent(one):
    for ax in fl.plot.dynamics(one[1], one[2]):
        half = len(ax.lines) // 2
        assert min(line.get_linewidth() for line in ax.lines[:half]) >= 3 * ax.lines[half].get_linewidth()
        assert ax.lines[half].get_markevery()


def test_many_lines_have_no_bands(dataset):
    more = first(dataset).isel(lam=[0, 1, 2, 3, 4, 4, 4]).assign_coords(lam=np.arange(7.0))
    ax = fl.plot.trajectories(more)
    assert not ax.collections
    assert "band" not in ax.get_title()


def test_an_axis_shows_its_values_where_nothing_is_drawn(dataset):
    none = dataset.loss.isel(architecture=0, init_scale=0, time=3) * np.nan
    ax = fl.plot.profile(none.rename("loss"))
    low, high = ax.get_xlim()
    assert low <= -4.0 < 4.0 <= high
    log = none.assign_coords(lam=[0.001, 0.01, 0.1, 1.0, 10.0]).rename("loss")
    ax = fl.plot.profile(log)
    ax.figure.canvas.draw()
    assert ax.get_xlim()[0] > 0.0


def test_pictures_change_no_setting_of_matplotlib(dataset):
    before = dict(mpl.rcParams)
    with fl.plot.theme("dark"):
        fl.plot.sweep(dataset)
        assert dict(mpl.rcParams) != before
    assert dict(mpl.rcParams) == before
