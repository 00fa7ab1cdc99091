"""Pictures: they show the values of the data, and change no global setting."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.texmanager import TexManager
from PIL import Image

import fastlin as fl
from fastlin.plot.captions import wrapped
from fastlin.plot.saving import save
from fastlin.plot.style import COLOURS
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
        panels = fl.plot.dynamics(fl.exact(task, net, [0.0, 1.0], observables=names))
    for ax in panels:
        assert {line.get_color() for line in ax.lines} == {"white"}


def test_diagrams_of_a_sweep_share_one_scale(dataset):
    figure = fl.plot.sweep(dataset, "kernel_distance", "lam", None)
    diagrams = figure.axes[:3]
    assert len({panel.collections[0].get_clim() for panel in diagrams}) == 1
    assert [panel.get_title() for panel in diagrams] == ["funnel 4-2-2", "wide 3-4-3", "between 2-3-4"]
    assert len(figure.axes[3].lines) == 3
    assert r"\infty" in figure.axes[3].get_title()


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


def test_a_sweep_is_drawn_over_the_sizes_of_its_architectures(dataset):
    figure = fl.plot.sweep(dataset, "loss", "lam", "n_h")
    mesh = figure.axes[0].collections[0].get_array().reshape(3, 5)
    late = dataset.loss.mean("seed").isel(init_scale=1, time=-1)
    assert np.allclose(mesh, late.isel(architecture=[0, 2, 1]))  # n_h is 2, 4, 3
    assert r"N_h" in figure.axes[0].get_ylabel()
    turned = fl.plot.sweep(dataset, x="n_h", y="time").axes[0]
    assert "N_h" in turned.get_xlabel()
    assert all(tick == int(tick) for tick in turned.get_xticks())


def test_a_sweep_is_drawn_over_two_sizes(dataset):
    figure = fl.plot.sweep(dataset, "loss", "n_i", "n_h")
    late = dataset.loss.mean("seed").isel(init_scale=1, lam=2, time=-1)
    grid = figure.axes[0].collections[0].get_array()
    columns, rows = (sorted(set(dataset[name].values.tolist())) for name in ("n_i", "n_h"))
    assert figure.axes[0].patch.get_hatch()  # empty cells are hatched
    assert grid.shape == (len(rows), len(columns))
    assert np.ma.count(grid) == late.sizes["architecture"]  # no colour where no architecture has both sizes
    for value, n_i, n_h in zip(late.values, late.n_i.values, late.n_h.values, strict=True):
        assert grid[rows.index(n_h), columns.index(n_i)] == pytest.approx(value)
    assert "architectures" not in figure.axes[1].get_ylabel()


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Fifteen architectures: several N_o for most pairs (N_i, N_h), several shapes for most ratios."""
    path = tmp_path_factory.mktemp("plot") / "shapes.zarr"
    sizes = [[n_i, n_h, n_o] for n_i in (2, 3, 5) for n_h in (1, 2) for n_o in (2, 3)]
    axes = {
        "architecture": [*sizes, [2, 4, 2], [3, 4, 3], [5, 4, 5]],
        "seed": [0, 1, 2],
        "lam": [-1.0, 0.0, 2.0],
    }
    dynamics = {"times": [0.0, 1.0, 100.0, float("inf")]}
    fl.run_sweep(sweeping.spec(axes=sweeping.spec()["axes"] | axes, dynamics=dynamics), path)
    return fl.open_sweep(path).load()


def means_by(dataset, *names):
    """Return means of the loss over seeds, then over architectures, by a slow loop."""
    groups = {}
    for index in range(dataset.sizes["architecture"]):
        one = dataset.isel(architecture=index, init_scale=1, time=-1)
        groups.setdefault(tuple(one[name].item() for name in names), []).append(one.loss.mean("seed").values)
    return {key: np.mean(values, axis=0) for key, values in groups.items()}


def test_architectures_of_the_same_two_sizes_are_averaged(shapes):
    wanted = means_by(shapes, "n_i", "n_h")
    late = shapes.loss.isel(init_scale=1, time=-1, lam=1)
    ax = fl.plot.phase_diagram(late, "n_i", "n_h")
    grid = ax.collections[0].get_array()
    assert grid.shape == (4, 4)  # N_i = 2, 3, 4, 5 and N_h = 1, 2, 3, 4: cells do not overlap
    assert np.ma.count(grid) == len(wanted) == 9
    for (n_i, n_h), values in wanted.items():
        assert grid[n_h - 1, n_i - 2] == pytest.approx(values[1])
    assert ax.patch.get_hatch()
    assert "mean of up to 2 architectures" in ax.figure.axes[1].get_ylabel()


def test_architectures_of_the_same_ratio_are_averaged(shapes):
    wanted = means_by(shapes, "bottleneck_ratio")
    assert len(wanted) < shapes.sizes["architecture"]
    late = shapes.loss.isel(init_scale=1, time=-1)
    ax = fl.plot.phase_diagram(late, "lam", "bottleneck_ratio")
    grid = ax.collections[0].get_array()
    assert np.allclose(grid, [wanted[key] for key in sorted(wanted)])
    most = max(np.unique(shapes.bottleneck_ratio, return_counts=True)[1])
    assert f"mean of up to {most} architectures" in ax.figure.axes[1].get_ylabel()
    line = fl.plot.profile(late.isel(lam=0), "bottleneck_ratio")
    assert np.allclose(line.lines[0].get_ydata(), [wanted[key][0] for key in sorted(wanted)])
    assert not line.collections  # no band: a deviation over seeds is not one over architectures
    assert "mean of up to" in line.get_ylabel()


def test_points_that_failed_do_not_spoil_a_mean_over_architectures(shapes):
    late = shapes.loss.isel(init_scale=1, time=-1, lam=1).copy(deep=True)
    late[0] = np.nan  # 2-1-2, which shares its cell with 2-1-3
    grid = fl.plot.phase_diagram(late, "n_i", "n_h").collections[0].get_array()
    assert grid[0, 0] == pytest.approx(float(late[1].mean()))


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


def test_hundreds_of_architectures_are_drawn_over_their_sizes_by_default(shapes):
    sizes = [name.split("-") for name in shapes.architecture.values]
    names = [f"{n_i}-{int(n_h) + more}-{n_o}" for more in (0, 10, 20, 30) for n_i, n_h, n_o in sizes]
    many = shapes.isel(architecture=list(range(15)) * 4).assign_coords(architecture=names)
    (figure,) = fl.plot.pages(many)
    assert r"N_i" in figure.axes[0].get_xlabel()
    assert r"N_h" in figure.axes[0].get_ylabel()
    assert "mean of up to 2 architectures" in figure.axes[1].get_ylabel()


def test_a_sweep_over_one_size_alone_is_a_line(shapes):
    one = shapes.isel(lam=[1], init_scale=[1], time=[3], architecture=[12, 13, 14])
    (ax,) = fl.plot.sweep(one, "loss", "n_i").axes
    assert np.allclose(ax.lines[0].get_ydata(), one.loss.mean("seed").values.ravel())
    assert len(ax.collections) == 1  # the band


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


def test_a_style_is_that_of_all_panels(dataset):
    figure = fl.plot.sweep(dataset, "loss", style=fl.plot.Style(log=True, size=(9, 5), cmap="magma"))
    assert tuple(figure.get_size_inches()) == (9, 5)
    meshes = [ax.collections[0] for ax in figure.axes[:3]]
    assert {mesh.cmap.name for mesh in meshes} == {"magma"}
    assert all(isinstance(mesh.norm, LogNorm) for mesh in meshes)
    assert figure.axes[3].get_yscale() == "log"


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"cmap": "viridi"}, "cmap is 'viridi', no colour map of Matplotlib; try viridis"),
        ({"size": (0, 4)}, "size is 0; it must be above 0"),
        ({"size": 3}, "size is 3; needed are width and height in inches"),
        ({"log": "a"}, "log is 'a'; allowed: true, false"),
        ({"cmap": [3]}, r"cmap is \[3\], no colour map"),
    ],
)
def test_a_wrong_style_is_named(style, message):
    with pytest.raises(fl.InputError, match=message):
        fl.plot.Style(**style)


def test_no_cell_of_an_axis_from_0_reaches_below_it(dataset):
    one = dataset.loss.isel(architecture=0, init_scale=1, time=[0, 3, 4])
    assert fl.plot.phase_diagram(one.assign_coords(time=[0.0, 5.0, 10.0])).get_ylim()[0] == 0.0


def test_latex_that_is_missing_is_named(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(TexManager, "_cache_dir", tmp_path, raising=False)
    figure = fl.plot.sweep(dataset, "loss")
    with mpl.rc_context({"text.usetex": True}):
        figure = fl.plot.sweep(dataset, "loss")
        with pytest.raises(fl.InputError, match=r"text.usetex is true .* latex could not be found") as caught:
            save(figure, tmp_path / "p.png")
    assert "\n" not in str(caught.value)


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


def one_loss(dataset):
    return dataset.loss.isel(architecture=0, init_scale=0, seed=0).squeeze()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: fl.plot.phase_diagram(d.loss), "dimension 'architecture' has 3 values; select one"),
        (lambda d: fl.plot.phase_diagram(d.loss, "lam", "lam"), "two dimensions are needed"),
        (lambda d: fl.plot.phase_diagram(d.loss, "lambda"), "'lambda' is no dimension here"),
        (lambda d: fl.plot.profile(d.loss, "lam"), "select one first"),
        (lambda d: fl.plot.sweep(d, "los", "lam", None), "did you mean 'loss'"),
        (
            lambda d: fl.plot.sweep(d, "loss", "lam", "tim"),
            "'tim' is no axis to draw over; did you mean 'time'",
        ),
        (
            lambda d: fl.plot.sweep(d, "loss", "architecture"),
            "no axis to draw over; .*allowed: init_scale, lam",
        ),
        (lambda d: fl.plot.sweep(d, "loss", y="seed"), "'seed' is no axis to draw over"),
        (
            lambda d: fl.plot.sweep(d, "loss", "lam", "lam"),
            "x and y are both 'lam'; two dimensions are needed",
        ),
        (lambda d: fl.plot.pages(d, x="lam", y="lam"), "x and y are both 'lam'; two dimensions are needed"),
        (lambda d: fl.plot.sweep(d, 3), "observable 3 is not in the dataset"),
        (lambda d: fl.plot.sweep(d.loss), "dataset is <DataArray .* needed is one of class Dataset"),
        (lambda d: fl.plot.pages(3), "dataset is 3; needed is one of class Dataset"),
        (lambda d: fl.plot.sweep(d.drop_vars("status")), "this is no whole sweep"),
        (
            lambda d: fl.plot.sweep(d, style={"log": True}),
            "style is {'log': True}; needed is one of class Style",
        ),
        (lambda d: fl.plot.pages(d, style=None), "style is None; needed is one of class Style"),
        (lambda d: fl.plot.matrices(d.loss), "loss has the dimensions .*as w2w1"),
        (
            lambda d: fl.plot.matrices(d.loss.isel(seed=0, architecture=0)),
            "loss has the dimensions .*as w2w1",
        ),
        (lambda d: fl.plot.matrices(one_loss(d)), "loss has the dimensions lam, time; .*as w2w1"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), ax=3), "ax is 3; needed is one of class Axes"),
        (lambda d: fl.plot.profile(one_loss(d).isel(time=2), ax=3), "ax is 3; needed is one of class Axes"),
        (lambda d: fl.plot.trajectories(one_loss(d), ax=3), "ax is 3; needed is one of class Axes"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), cmap="nope"), "Matplotlib refuses cmap='nope'"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), colr=3), "Matplotlib refuses colr=3"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), norm=3), "Matplotlib refuses norm=3"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), vmin="a"), "vmin is 'a'; a number is needed"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), vmin=9.0, vmax=1), "vmin must not be above vmax"),
        (
            lambda d: fl.plot.phase_diagram(one_loss(d), norm="log", vmin=-1),
            "vmin is -1; a logarithmic scale",
        ),
        (lambda d: fl.plot.trajectories(one_loss(d), colr=3), "Matplotlib refuses colr=3"),
        (lambda d: fl.plot.profile(one_loss(d).isel(time=2), color="nope"), "refuses color='nope'"),
        (lambda d: fl.plot.profile(one_loss(d).isel(time=2), linewidth="a"), "refuses .*linewidth='a'"),
        (lambda d: fl.plot.phase_diagram(d), "needed is one of class DataArray, from an observable"),
        (lambda d: fl.plot.profile(d), "needed is one of class DataArray"),
        (lambda d: fl.plot.trajectories(d.loss, "time"), "no dimension that tells lines apart"),
        (lambda d: fl.plot.trajectories(d.loss.isel(lam=0)), "has 3 values; select one"),
        (
            lambda d: fl.plot.trajectories(d.loss.isel(lam=[0] * 13).assign_coords(lam=np.arange(13.0))),
            "13 values, and 12 lines can be told apart",
        ),
        (lambda d: fl.plot.phase_diagram(d.loss.isel(architecture=0), "lam", "n_h"), "here is one"),
        (lambda d: fl.plot.sweep(d, "weight_norms", "lam", None), "value per layer"),
        (
            lambda d: fl.plot.phase_diagram(d.loss.isel(architecture=0, init_scale=0, lam=[2])),
            "lam has fewer than two values",
        ),
    ],
)
def test_bad_input_is_named(dataset, call, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        call(dataset)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 5, 7, 12, 13])
def test_the_lowest_diagram_of_each_column_names_its_axis(shapes, count):
    *_, figure = fl.plot.pages(shapes.isel(architecture=slice(count)), "loss", "lam", "time")
    figure.draw_without_rendering()
    diagrams = [ax for ax in figure.axes if ax.get_title()[:1].isalpha()]
    assert len(diagrams) == (1 if count == 13 else count)
    for ax in diagrams:
        box = ax.get_position()
        below = [o for o in diagrams if o.get_position().x0 == box.x0 and o.get_position().y0 < box.y0]
        assert bool(ax.get_xlabel()) != bool(below)


def caption_of(figure):
    return figure._suptitle.get_text().replace("\n", " ").replace("\u00a0", " ")


def test_values_without_a_place_on_an_axis_are_named(dataset):
    one = dataset.kernel_distance.isel(architecture=0, init_scale=1)
    neither, no_limit = r"(without $0$ and $\infty$)", r"(without $\infty$)"
    assert fl.plot.phase_diagram(one).get_ylabel().endswith(neither)
    assert fl.plot.trajectories(one, hue="lam").get_xlabel().endswith(neither)
    assert fl.plot.profile(one.isel(lam=0), "time").get_xlabel().endswith(neither)
    even = one.isel(time=[0, 3, 4, 6]).assign_coords(time=[0.0, 1.0, 2.0, np.inf])
    assert fl.plot.phase_diagram(even).get_ylabel().endswith(no_limit)
    assert "without" not in fl.plot.phase_diagram(one.isel(time=slice(1, 6))).get_ylabel()
    assert r"time $t/\tau$ without $0$ and $\infty$" in caption_of(fl.plot.sweep(dataset, y="time"))
    assert "without" not in caption_of(fl.plot.sweep(dataset, y="init_scale"))
    arch = fl.Architecture(3, 2, 3)
    task, net = fl.random_regression(arch, 20, 0.1**0.5), fl.balanced_init(arch, -1.0)
    for times, words in (([0.0, 1.0, np.inf], True), ([0.0, 1.0, 2.0], False)):
        for ax in fl.plot.dynamics(fl.exact(task, net, times)):
            assert ax.get_xlabel().endswith(no_limit) == words


def test_captions_name_all_values_that_are_not_drawn_over(dataset, shapes):
    limit = caption_of(fl.plot.sweep(dataset.isel(time=[-1])))
    assert r"time $t/\tau$ = $\infty$" in limit
    assert " of " not in limit.partition(r"\infty$")[2].partition(";")[0]
    assert r"time $t/\tau$ = $\infty$ of 7 values" in caption_of(fl.plot.sweep(dataset))
    line = caption_of(fl.plot.sweep(dataset.isel(time=[2], init_scale=[0])))
    assert r"time $t/\tau$ = $0.3$" in line
    assert r"weight scale $\sigma$ = $0.5$" in line
    wide = caption_of(fl.plot.sweep(shapes.isel(architecture=[0, 2, 13]), "loss", "n_h", "lam"))
    assert "outputs $N_o$" not in wide
    assert "inputs $N_i$" not in wide
    assert "outputs $N_o$ = $2$" in caption_of(fl.plot.sweep(shapes.isel(architecture=[0, 2]), "loss", "n_h"))
    one = dataset.kernel_distance.isel(architecture=0, time=3)
    mine = one.assign_coords(solver="my own", learning_rate=0.1)
    assert "my own" in fl.plot.phase_diagram(mine, "lam", "init_scale").get_title()
    mine = one.assign_coords(solver="exact", learning_rate=0.1)
    assert r"\eta" not in fl.plot.phase_diagram(mine, "lam", "init_scale").get_title()
    assert fl.plot.phase_diagram(one, "lam", "init_scale").get_title() == (
        "architecture 4-2-2, $t/\\tau$\u00a0=\u00a0$1$; mean over 6 seeds"
    )


def test_a_caption_names_only_borders_that_are_drawn(dataset):
    distance = dataset.kernel_distance
    both = caption_of(fl.plot.sweep(dataset, y="time"))
    assert "lines: lazy below 0.05 (dashed), rich from 0.15 (solid)" in both
    largest = distance.mean("seed").isel(init_scale=1, time=slice(1, -1)).max()
    for top, words in ((0.1, "lines: lazy below 0.05 (dashed);"), (0.04, None)):
        caption = caption_of(
            fl.plot.sweep(dataset.assign(kernel_distance=top / largest * distance), y="time")
        )
        assert words in caption if words else "lines" not in caption
        assert "rich" not in caption
    # Between cells without neighbours there is no line.
    here = (dataset.time == 1.0) & (dataset.lam == 0.0) | (dataset.time == 100.0) & (dataset.lam == 4.0)
    lone = xr.where(here, 0.2 - 0.04 * dataset.lam, np.nan) + 0 * distance
    assert "lines" not in caption_of(fl.plot.sweep(dataset.assign(kernel_distance=lone), y="time"))


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


def boxes_of(texts):
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


def assert_apart(boxes):
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


@pytest.mark.parametrize("size", [(6, 4), None])
@pytest.mark.parametrize("count", [2, 3, 4, 7, 15])
def test_labels_of_diagrams_do_not_overlap(shapes, size, count):
    part = shapes.isel(architecture=slice(count))
    for figure in fl.plot.pages(part, "loss", "lam", "time", fl.plot.Style(size=size)):
        figure.draw_without_rendering()
        for axis in ("xaxis", "yaxis"):
            assert_apart(boxes_of(getattr(ax, axis).label for ax in figure.axes))
        assert_apart(boxes_of(ax.title for ax in figure.axes))


@pytest.mark.parametrize(
    ("shape", "labels"),
    [
        ([[2, 1, 2], [3, 2, 3], [4, 2, 4], [2, 2, 2], [2, 3, 2]], ["0.5", "0.667", "1", "1.5"]),
        ([[n, h, n] for n in (9, 10, 11) for h in range(1, 9)], ["0.1", "0.2", "0.5"]),
        ([[n, n - 1, n] for n in range(5, 25)], ["0.8", "0.85", "0.9", "0.95"]),
        ([[1000, h, 1000] for h in (3, 4, 5, 50, 999)], ["0.01", "0.1", "1"]),
    ],
)
def test_ticks_of_ratios_are_few_and_spelled_shortly(shape, labels):
    names = ["-".join(map(str, sizes)) for sizes in shape]
    values = np.arange(2.0 * len(names)).reshape(-1, 2)
    da = xr.DataArray(values, {"architecture": names, "lam": [0.0, 1.0]}, ("architecture", "lam"), "loss")
    for x, y in (("bottleneck_ratio", "lam"), ("lam", "bottleneck_ratio")):
        ax = fl.plot.phase_diagram(da, x, y)
        ax.figure.draw_without_rendering()
        axis = ax.xaxis if x == "bottleneck_ratio" else ax.yaxis
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        assert [tick.label1.get_text() for tick in ticks] == labels
        assert_apart(boxes_of(tick.label1 for tick in ticks))
        assert not any(tick.label1.get_text() for tick in axis.get_minor_ticks())


def test_a_sweep_of_one_lam_is_drawn_over_time(dataset):
    (ax,) = fl.plot.sweep(dataset.isel(lam=[2], init_scale=[0]), "loss").axes
    assert ax.get_xlabel().startswith("time")
    assert len(ax.lines) == 3


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


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["small: loss;", "lines: lazy below 0.3 (dashed), rich from 0.15 (solid);", "lam 0"]),
        (50, ["small: loss; lines: lazy below 0.3 (dashed),", "rich from 0.15 (solid); lam 0"]),
        (26, ["small: loss; lines: lazy", "below 0.3 (dashed),", "rich from 0.15 (solid);", "lam 0"]),
        (
            10,
            ["small:", "loss;", "lines:", "lazy below", "0.3", "(dashed),", "rich from", "0.15", "(solid);"],
        ),
    ],
)
def test_a_caption_is_broken_between_parts_then_clauses_then_words(width, lines):
    parts = ["small: loss", "lines: lazy below 0.3 (dashed), rich from 0.15 (solid)", "lam 0"]
    broken = wrapped(parts, width).splitlines()
    assert broken[: len(lines)] == lines
    assert max(map(len, broken)) <= width


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
