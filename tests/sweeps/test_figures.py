"""The paper's figures: they draw the computed numbers in every format, and are the same each time."""

import functools
from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

import fastlin as fl
from fastlin.plot import style
from fastlin.plot.themes import PALETTES
from fastlin.sweeps import figures, presets
from fastlin.sweeps.figures import fig1, fig2, wide
from fastlin.sweeps.figures.schematic import schematic
from fastlin.sweeps.run import prepare
from tests import legible

WIDTHS = (32, 128, 512)
SHAPES = [fl.Architecture(6, 3, 6), fl.Architecture(4, 2, 4)]


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """Sweeps of a few seeds and steps, and the networks of Figure 1 computed once."""
    folder = tmp_path_factory.mktemp("presets")
    with pytest.MonkeyPatch.context() as patch:
        for panel, name in fig2.PRESETS.items():
            text = presets.text(name).replace("num = 200", "num = 4")
            text = text.replace("9.0, 90.0, 900.0", "0.9, 3.6, 7.2")
            (folder / f"{name}.toml").write_text(text)
            patch.setitem(fig2.PRESETS, panel, f"{name}.toml")
        text = presets.text(wide.PRESET).replace("num = 50", "num = 2")
        (folder / "wide-plane.toml").write_text(text)
        patch.setattr(wide, "PRESET", "wide-plane.toml")
        patch.chdir(folder)
        patch.setattr(fig1, "simulate", functools.cache(fig1.simulate))
        yield


@pytest.fixture(autouse=True)
def nothing_global_changes():
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before


@pytest.fixture(scope="module")
def measured():
    return fig2.measure()


@pytest.fixture(scope="module")
def second(measured):
    return fig2.compose(measured)


@pytest.fixture(scope="module")
def gaussian():
    return wide.measure(WIDTHS, seeds=8)


@pytest.fixture(scope="module")
def third(gaussian):
    return wide.compose(gaussian)


@pytest.fixture(scope="module")
def first():
    return fig1.figure()


def drawn(line):
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def borders(collection, places):
    """Return the lower and the upper border of a band at given places."""
    x, y = collection.get_paths()[0].vertices.T
    return np.array([[y[x == place].min(), y[x == place].max()] for place in places]).T


def text(figure):
    return "\n".join(entry.get_text() for entry in figure.findobj(mpl.text.Text))


def test_names_say_what_is_shown():
    assert list(figures.NAMES)[:3] == ["fig1", "fig2", "wide"]
    assert all("\n" not in line and len(line) < 100 for line in figures.NAMES.values())


def test_figure_1_is_the_papers():
    assert (str(fig1.ARCHITECTURE), fig1.N_SAMPLES, fig1.LEARNING_RATE) == ("3-2-3", 20, 0.01)
    assert pytest.approx(0.1) == fig1.TARGET_SCALE**2
    assert fig1.LAMS == (1.0, 0.0, -1.0)
    tasks, nets = zip(*(fig1.setting(lam) for lam in fig1.LAMS), strict=True)
    assert np.array_equal(tasks[0].sigma_yx, tasks[1].sigma_yx)
    assert [net.lam for net in nets] == pytest.approx(fig1.LAMS)
    assert {net.balance for net in nets} == {"strict"}
    start = fl.exact(tasks[1], nets[1], [0.0]).weight_norms
    assert start.max() < 0.05  # twelve weights of deviation 0.01, with layers of equal norm


def test_figure_1_draws_gradient_descent_and_the_closed_form(first):
    panels = np.reshape(first.axes, (5, 3)).T
    for lam, row in zip(fig1.LAMS, panels, strict=True):
        exact, gd = fig1.simulate(lam)
        assert float(gd.time[-1]) == fig1.STEPS * fig1.LEARNING_RATE
        for ax, name, count in zip(row, fig1.PANELS, (1, 9, 9, 9, 9), strict=True):
            lines, dots = ax.lines[:count], ax.lines[count : 2 * count]
            flat_gd, flat_exact = (data[name].values.reshape(data.time.size, -1) for data in (gd, exact))
            at = np.isin(gd.time.values, exact.time.values)
            for line, dot in zip(lines, dots, strict=True):
                assert to_hex(line.get_color()) in map(to_hex, style.COLOURS)
                assert to_hex(dot.get_color()) == "#000000"
                assert (dot.get_linestyle(), dot.get_marker()) == ("-", ".")
                assert dot.get_linewidth() < line.get_linewidth()
                for artist, flat, time in ((line, flat_gd, gd.time), (dot, flat_exact, exact.time)):
                    x, y = drawn(artist)
                    assert np.array_equal(x, time)
                    assert (flat == y[:, None]).all(axis=0).any()
                assert np.abs(drawn(line)[1][at] - drawn(dot)[1]).max() < 0.03 * np.ptp(flat_gd)


def test_figure_1_marks_where_a_bottleneck_ends(first):
    task, net = fig1.setting(0.0)
    end = float(fl.exact(task, net, [np.inf], ["loss"]).loss[0])
    for ax in first.axes[:3]:
        best, any_rank = (drawn(line)[1] for line in ax.lines[-2:])
        assert best == pytest.approx([end, end], rel=1e-12)
        assert any_rank == pytest.approx([task.loss_floor] * 2)
        assert best[0] > any_rank[0] > 0.0


def test_figure_2_uses_its_presets(measured):
    sizes = {panel: dict(da.sizes) for panel, da in measured.items()}
    assert [sizes[panel]["lam"] for panel in "BCD"] == [11, 21, 181]
    assert all(size["architecture"] == 4 for size in sizes.values())
    assert "solver" not in sizes["D"]
    for name in ("figure-2b", "figure-2c", "figure-2d"):
        spec = fl.Spec.load(name)
        assert (spec.seeds.size, spec.init.kind.name) == (200, "random_regression")
        assert spec.task.values == {"n_samples": 10, "target_scale": 3**0.5}
        assert (spec.lams.min(), spec.lams.max()) == (-9.0, 9.0)
        assert 0.0 in spec.lams
    assert fl.Spec.load("figure-2b").learning_rates.tolist() == [0.009]


def test_wide_networks_are_drawn_over_lam_and_kappa(gaussian, third):
    plane = third.axes[0]
    mean = gaussian.plane.mean("seed").transpose("kappa", "lam")
    assert dict(gaussian.plane.sizes) == {"seed": 2, "kappa": 31, "lam": 73}
    np.testing.assert_allclose(plane.collections[0].get_array(), mean, rtol=1e-12)
    assert (plane.get_yscale(), plane.get_xscale()) == ("log", "linear")
    assert [tuple(point[0] for point in drawn(line)) for line in plane.lines] == [(0.0, 1.0)]


def test_the_fits_of_gaussian_networks_come_near_to_their_limit(gaussian, third):
    fits = gaussian.gaussian
    spread = np.hypot(fits.lam, fits.kappa - 1.0).mean("seed").values
    assert (np.diff(spread) < 0.0).all()
    *clouds, limit = third.axes[1].lines
    assert drawn(limit) == (0.0, 1.0)
    for width, cloud in zip(WIDTHS[::2], clouds, strict=True):
        assert np.array_equal(drawn(cloud), [fits.lam.sel(width=width), fits.kappa.sel(width=width)])
        assert cloud.get_label() == f"$N_h = {width}$"


def test_residual_and_error_of_the_fits_fall_like_the_root_of_the_width(gaussian, third):
    means = [line for line in third.axes[2].lines if "slope" in line.get_label()]
    for name, line in zip(("residual", "map_error"), means, strict=True):
        values = gaussian.gaussian[name]
        assert np.array_equal(drawn(line), [values.width, values.mean("seed")])
        assert f"slope ${wide.slope(values):.2f}$" in line.get_label()
        assert wide.slope(values) == pytest.approx(-0.5, abs=0.1)


def test_one_network_of_the_figure_is_the_flow_against_its_fit(gaussian):
    arch = fl.Architecture(4, 128, 4)
    net = fl.random_init(arch, "ntk", seed=3)
    one = gaussian.gaussian.sel(width=128, seed=3)
    assert (one.lam, one.kappa, one.residual) == net.fit()
    task = fl.random_regression(arch, wide.N_SAMPLES, wide.TARGET_SCALE, seed=3)
    fitted = fl.balanced_init(arch, float(one.lam), kappa=float(one.kappa), weights=(net.w1, net.w2))
    ends = fl.flow(task, net, [1.0]).w2w1 - fl.exact(task, fitted, [1.0]).w2w1
    assert np.linalg.norm(ends[0]) <= float(one.map_error) * np.linalg.norm(task.sigma_yx) * (1 + 1e-9)
    assert float(one.map_error) > 1e-3


@pytest.mark.parametrize(("panel", "place"), [("B", 0), ("C", 1)])
def test_figure_2_draws_lines_dots_and_bands(measured, second, panel, place):
    ax, late = second.subfigs[1].axes[place], measured[panel].isel(time=-1)
    for index in range(4):
        gd, exact = (late[index].sel(solver=name) for name in ("gradient_descent", "exact"))
        line, dots = ax.lines[2 * index : 2 * index + 2]
        assert np.array_equal(drawn(line), [gd.lam, gd.mean("seed")])
        assert np.array_equal(drawn(dots), [exact.lam, exact.mean("seed")])
        assert (dots.get_color(), dots.get_linestyle()) == ("k", "None")
        low, high = borders(ax.collections[index], gd.lam.values)
        assert np.allclose(high - low, 2 * gd.std("seed", ddof=1))
        assert np.allclose(0.5 * (high + low), gd.mean("seed"))
    low, high = ax.get_ylim()
    assert low < 0.0
    assert high > max(borders(band, late.lam.values).max() for band in ax.collections)
    assert len({line.get_color() for line in ax.lines}) == 5
    assert r"t/\tau = 7.2" in ax.get_title(loc="left")
    labels = [entry.get_text() for entry in ax.get_legend().get_texts()]
    assert labels[-1] == "closed form"
    assert labels[0] == {"B": "funnel 4-2-2", "C": "bottleneck 3-2-3"}[panel]


def test_figure_2_draws_all_horizons(measured, second):
    for ax, one, title in zip(
        second.subfigs[2].axes,
        measured["D"],
        ("funnel", "square", "inverted funnel", "bottleneck"),
        strict=True,
    ):
        assert ax.get_title().startswith(title)
        for index in range(4):
            assert np.array_equal(drawn(ax.lines[index]), [one.lam, one.isel(time=index).mean("seed")])
        left, right = (drawn(line)[1] for line in ax.lines[4:])
        shape = fl.Architecture(*(int(one[name]) for name in ("n_i", "n_h", "n_o")))
        assert (left[0], right[0]) == fig2.limits(shape)
    names = [entry.get_text() for entry in second.subfigs[2].legends[0].get_texts()]
    assert names[0] == r"$t/\tau = 0.9$"
    assert names[3] == r"$t/\tau = \infty$"
    assert len(names) == 5


@pytest.mark.parametrize("shape", [(4, 2, 4), (1, 1, 1), (3, 12, 9)], ids=str)
def test_schematics_have_a_circle_for_each_unit_and_a_line_for_each_weight(shape):
    ax = Figure().subplots()
    schematic(ax, fl.Architecture(*shape), "red", max(shape))
    lines, *layers = ax.collections
    shown = [size if size <= 8 else 6 for size in shape]
    assert [len(layer.get_offsets()) for layer in layers] == shown
    assert len(lines.get_segments()) == shown[0] * shown[1] + shown[1] * shown[2]
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        f"$N_{name} = {size}$" for name, size in zip("iho", shape, strict=True)
    ]
    low, high = ax.get_ylim()
    assert all(
        low < layer.get_offsets()[:, 1].min() and layer.get_offsets()[:, 1].max() < high for layer in layers
    )
    assert [entry.get_text() for entry in ax.texts] == ["⋮"] * sum(size > 8 for size in shape)


def test_captions_state_the_settings(first, second, third):
    for words in ("seed 25", r"\eta = 0.01$", "100,000 steps", "$P = 20$", r"\sqrt{0.1}", "3-2-3"):
        assert words in text(first)
    for words in ("over 4 seeds", r"\eta = 0.009$", "800 steps", "$P = 10$", r"\sqrt{3}", "saddle"):
        assert words in text(second)
    assert "with the architectures of A" not in text(second)
    for words in ("over 2 seeds", "8 networks 4-$N_h$-4", "variance $1/N_h$", r"$t \leq 10$", "4-16-4"):
        assert words in text(third)


def test_figure_2_of_other_architectures(tmp_path, monkeypatch):
    figures_drawn = []
    compose = fig2.compose
    monkeypatch.setattr(fig2, "compose", lambda data: figures_drawn.append(compose(data)) or figures_drawn[0])
    figures.draw("fig2", tmp_path / "mine.svg", SHAPES)
    (figure,) = figures_drawn
    top, middle, bottom = figure.subfigs
    for part in (top, bottom):
        assert [ax.get_title() for ax in part.axes] == ["bottleneck 6-3-6", "bottleneck 4-2-4"]
    assert [len(ax.lines) for ax in middle.axes] == [4, 8]
    assert "with the architectures of A" in text(figure)
    assert "saddle" not in text(figure)


def test_more_inputs_need_more_samples():
    assert fig2.samples_for(SHAPES) == 10
    assert fig2._with(fl.Spec.load("figure-2d"), [fl.Architecture(12, 2, 4)]).task.values["n_samples"] == 12


@pytest.mark.parametrize("count", [1, 6])
def test_one_to_six_architectures_fit(measured, count):
    data = measured | {panel: measured[panel].isel(architecture=[0, 1, 2, 3, 0, 1][:count]) for panel in "BD"}
    figure = fig2.compose(data)
    texts = figure.findobj(mpl.text.Text)
    check_texts(figure, [entry for entry in texts if entry.get_text() and entry.get_visible()])
    titles = [ax.title.get_window_extent() for ax in figure.subfigs[0].axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(titles))


def test_texts_of_figures_are_legible(first, second, third):
    for figure in (first, second, third):
        legible.check(figure)


def check_texts(figure, texts):
    """Check that texts lie on the page."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for entry in texts:
        box = entry.get_window_extent()
        assert min(box.x0, box.y0) >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fig1", "fig2", "wide"])
def test_files_are_the_same_bytes_each_time(measured, gaussian, monkeypatch, tmp_path, name):
    monkeypatch.setattr(fig2, "measure", lambda _, **_options: measured)
    monkeypatch.setattr(wide, "measure", lambda **_options: gaussian)
    one, other = (tmp_path / file for file in ("a.svg", "b.svg"))
    figures.draw(name, one)
    with plt.style.context("dark_background"):  # the style of the user does not matter
        figures.draw(name, other)
    assert one.read_bytes() == other.read_bytes()
    assert b"<dc:date>" not in one.read_bytes()


def test_a_figure_is_drawn_on_a_dark_ground(first, monkeypatch, tmp_path):
    monkeypatch.setattr(fig1, "figure", lambda: first)
    for dark, ground in ((False, "#ffffff"), (True, PALETTES["dark"][1])):
        figures.draw("fig1", tmp_path / "x.png", dark=dark)
        assert to_hex(imread(tmp_path / "x.png")[0, 0]) == ground


@pytest.mark.slow
def test_files_of_all_formats(first, second, third, monkeypatch, tmp_path):
    monkeypatch.setattr(fig1, "figure", lambda: first)
    monkeypatch.setattr(fig2, "figure", lambda _, **_options: second)
    monkeypatch.setattr(wide, "figure", lambda **_options: third)
    for name, width in (("fig1", 1200), ("fig2", 1200), ("wide", 1200)):
        picture, paper = tmp_path / f"{name}.PNG", tmp_path / f"{name}.pdf"
        figures.draw(name, picture)
        figures.draw(name, paper)
        pixels = imread(picture)
        assert pixels.shape[1] == width
        assert np.ptp(pixels) == 1.0
        assert paper.read_bytes().startswith(b"%PDF")
        assert b"CreationDate" not in paper.read_bytes()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: figures.draw("fig3", path / "x.png"), "figure is 'fig3'; did you mean 'fig[12]'"),
        (lambda path: figures.draw("fig1", path / "x.jpg"), "x.jpg is no picture; its ending must be one of"),
        (lambda path: figures.draw("fig1", path / "no" / "x.png"), "there is no folder"),
        (lambda path: figures.draw("fig1", path / "x.png", SHAPES), "fig1 has architectures of its own"),
        (lambda path: figures.draw("wide", path / "x.png", SHAPES), "wide has architectures of its own"),
        (lambda path: figures.draw("fig2", path / "x.png", []), "0 architectures are given; 1 to 6"),
        (lambda path: figures.draw("fig2", path / "x.png", 7 * SHAPES[:1]), "7 architectures are given"),
        (
            lambda path: figures.draw("fig2", path / "x.png", [(4, 2, 4)]),
            r"architectures\[0\] is \(4, 2, 4\)",
        ),
        (lambda path: figures.draw("fig2", path / "x.png", 2 * SHAPES[:1]), "holds 6-3-6 more than once"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, call, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_figure_beyond_the_memory_is_refused_before_it_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(fig2, "run_sweep", None)
    with pytest.raises(fl.InputError, match=r"blocks at a time need .* of memory and 1 kB are available"):
        figures.draw("fig2", tmp_path / "x.png", SHAPES)


@pytest.mark.parametrize("progress", [True, False])
def test_progress_of_a_figure_is_on_standard_error(tmp_path, monkeypatch, capsys, progress):
    monkeypatch.setattr(fig2, "compose", lambda _: Figure())
    figures.draw("fig2", tmp_path / "x.png", SHAPES[:1], progress=progress)
    captured = capsys.readouterr()
    assert not captured.out
    for panel in "BCD":
        assert (f"panel {panel}: computing" in captured.err) == progress
