"""Pages of small multiples."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl


def test_many_architectures_are_spread_over_pages(shapes):
    pages = fl.plot.pages(shapes, "loss")
    assert len(pages) == 2
    figures = list(pages)
    titles = [ax.get_title() for figure in figures for ax in figure.axes if "-" in ax.get_title()]
    sizes = [
        "-".join(map(str, shape))
        for shape in zip(*(shapes[n].values for n in ("n_i", "n_h", "n_o")), strict=True)
    ]
    assert [title.split()[-1] for title in titles if title[0].isalpha()] == sizes
    meshes = [ax.collections[0] for figure in figures for ax in figure.axes if ax.get_title()[:1].isalpha()]
    assert len({mesh.get_clim() for mesh in meshes}) == 1
    lines = [ax for figure in figures for ax in figure.axes if len(ax.lines) in (12, 3)]
    assert [len(ax.lines) for ax in lines] == [12, 3]
    assert len({ax.get_ylim() for ax in lines}) == 1
    assert ["page 1 of 2" in figure._suptitle.get_text() for figure in figures] == [True, False]
    with pytest.raises(
        fl.InputError, match=r"15 architectures, and 12 fit a page; draw them by fl.plot.pages"
    ):
        fl.plot.sweep(shapes, "loss")
    many = shapes.isel(architecture=list(range(15)) * 81, seed=[0], time=[3])
    many = many.assign_coords(architecture=[f"2-{hidden}-2" for hidden in range(1, 1216)])
    with pytest.raises(fl.InputError, match="1215 architectures make 102 pages, and at most 100 are drawn"):
        fl.plot.pages(many, "loss", "lam")


def test_titles_name_the_mean_over_seeds_and_the_band(dataset):
    def title(ax):
        return ax.get_title().replace("\n", " ")

    one = dataset.loss.isel(architecture=0, init_scale=0)
    assert title(fl.plot.phase_diagram(one)).endswith("; mean over 6 seeds")
    ending = "; mean over 6 seeds; band: one standard deviation"
    assert title(fl.plot.trajectories(one)).endswith(ending)
    assert title(fl.plot.profile(one.isel(time=2))).endswith(ending)
    single = fl.plot.trajectories(one.isel(seed=0))
    assert "mean" not in title(single)
    assert "band" not in title(single)
    assert "seeds" not in title(fl.plot.phase_diagram(one.isel(time=2), "lam", "seed"))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            (4, 3),
            r"size is 4 x 3 inches, too small for the axes \(a panel .*\); needed are about 4 x 4 inches",
        ),
        ((1, 1), "size is 1 x 1 inches, too small for the axes and their labels; a larger one is needed"),
    ],
)
def test_a_size_at_which_panels_are_too_low_is_refused(dataset, size, message):
    one = dataset.isel(architecture=[0], init_scale=[1])
    before = plt.get_fignums()
    with pytest.raises(fl.InputError, match=message):
        fl.plot.sweep(one, style=fl.plot.Style(size=size))
    assert plt.get_fignums() == before
    fl.plot.sweep(one, style=fl.plot.Style(size=(4, 4)))


def test_diagrams_of_a_sweep_share_one_scale(dataset):
    figure = fl.plot.sweep(dataset, "kernel_distance", "lam", None)
    diagrams = figure.axes[:3]
    assert len({panel.collections[0].get_clim() for panel in diagrams}) == 1
    assert [panel.get_title() for panel in diagrams] == ["funnel 4-2-2", "wide 3-4-3", "between 2-3-4"]
    (lines,) = [ax for ax in figure.axes[3:] if ax.get_title()]
    assert len(lines.lines) == 3
    assert r"\infty" in lines.get_title()


@pytest.mark.parametrize("init_scale", [0.5, 1.0])
def test_a_line_of_zeros_on_a_logarithmic_scale_is_empty(dataset, init_scale, tmp_path):
    """Values span decades, but at the default of an axis they may all be 0."""
    loss = dataset.loss.copy(data=np.broadcast_to(10.0 ** dataset.lam.values[:, None], dataset.loss.shape))
    spread = dataset.assign(loss=loss.where(dataset.init_scale != init_scale, 0.0))
    page = fl.plot.sweep(spread, "loss", "lam", "init_scale")
    page.savefig(tmp_path / "page.png")
    low, high = page.axes[3].get_ylim()
    assert 0.0 < low < high
