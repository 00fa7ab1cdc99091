"""Odd input gives one clear line or the right number, and never a warning."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps.read.accessor import _first_passage
from tests import sweeping

INF = float("inf")
TIMES = [0.0, 0.1, 1.0, 10.0, INF]
AXES = sweeping.spec()["axes"] | {"architecture": [[4, 2, 2], [3, 4, 3]], "init_scale": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, client):
    """Stores by name: plain, with diverged points, reduced, of one seed, with markup in the name."""
    path = tmp_path_factory.mktemp("bad")
    plain = sweeping.spec(axes=AXES, dynamics={"times": TIMES})
    rough = {"solver": "gradient_descent", "learning_rate": 0.2, "times": [0.0, 1.0, 4.0]}
    specs = {
        "plain": plain,
        "diverging": sweeping.spec(axes=AXES | {"lam": [-4.0, 0.5, 30.0]}, dynamics=rough),
        "lost": sweeping.spec(axes=AXES, dynamics=rough | {"learning_rate": 50.0, "times": [0.0, 5e3]}),
        "reduced": plain | {"output": {"observables": ["loss", "kernel_distance"], "reduce": {}}},
        "one-seed": sweeping.spec(axes=AXES | {"seed": 3}, dynamics={"times": TIMES}),
        "markup": plain | {"name": "loss of $x_{1$ & <b>"},
        "cjk": plain | {"name": "学習"},
        "norms": plain | {"output": {"observables": ["weight_norms"]}},
    }
    for name, spec in specs.items():
        fl.run_sweep(spec, path / name, client)
    return path


@pytest.fixture(scope="module")
def plain(folder):
    return fl.open_sweep(folder / "plain").load()


@pytest.fixture(autouse=True)
def clean():
    yield
    plt.close("all")


@pytest.fixture
def run(command_line, monkeypatch, folder):
    """Return a function that runs a command line in the folder of the stores and returns (code, out, err)."""
    monkeypatch.chdir(folder)
    return command_line


# ---- the command line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plot plain --x seed", "seed"),
        ("plot plain --x lambda", "did you mean 'lam'"),
        ("plot plain --out no/p.png", "there is no folder"),
        ("plot norms", "weight_norms"),
        ("report plain --out p.txt", "its ending must be one of"),
        ("figure fig2 --architecture 4_2_4", "needed are three sizes"),
        ("figure fig2 --architecture 4-2-4 --architecture 04-2-4", "4-2-4 more than once"),
        ("plot lost", "diverged"),
        (f"figure fig2 --architecture {'9' * 5000}-2-4", "architecture is '999"),
    ],
    ids=lambda value: value[:60],
)
def test_bad_words_give_one_line_and_exit_code_2(run, line, message):
    code, out, err = run(*line.split())
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err


@pytest.mark.parametrize("name", ["plain", "diverging", "reduced", "one-seed", "markup", "cjk"])
def test_any_store_is_drawn_and_reported(run, name):
    for verb, file in (("plot", "p.png"), ("report", "p.html")):
        code, _, err = run(verb, name, "--out", file)
        assert (code, err) == (0, "")


def test_plot_needs_only_the_horizontal_axis(run):
    assert run("plot", "plain", "--x", "time", "--out", "p.png")[0] == 0


@pytest.mark.parametrize("verb", ["plot", "report"])
def test_a_store_is_drawn_from_within(run, folder, monkeypatch, verb):
    monkeypatch.chdir(folder / "plain")
    code, out, err = run(verb, ".")
    assert (code, err) == (0, "")
    assert str(folder / "plain.") in out


# ---- selections


ODD = st.one_of(
    st.none(), st.booleans(), st.text(max_size=5), st.binary(max_size=3), st.complex_numbers(), st.floats(),
    st.integers(), st.dates(), st.sampled_from([np.float32(2), np.int8(2), np.datetime64("2020"), object()]),
    st.dictionaries(st.integers(), st.integers(), max_size=2), st.lists(st.floats(), max_size=3),
)  # fmt: skip


def refused(call):
    """Return the result of a call, or None where it was refused in one line."""
    try:
        return call()
    except fl.InputError as error:
        assert str(error)
        assert "\n" not in str(error)
        return None


@given(st.sampled_from(["lam", "time", "seed", "architecture", "n_h"]), ODD)
def test_a_selection_has_the_given_values_or_is_refused_in_one_line(plain, name, value):
    part = refused(lambda: plain.fastlin.select(**{name: value}))
    if part is not None:
        assert np.allclose(part[name].values, value, rtol=1e-12)


def test_arrays_select_as_lists_do(plain):
    for value in (np.array([2.0, -2.0]), plain.lam[[3, 1]], (2.0, -2.0)):
        assert plain.fastlin.select(lam=value).lam.values.tolist() == [2.0, -2.0]
    for value in (np.array(2.0), plain.lam[3], np.float32(2)):
        assert plain.fastlin.select(lam=value).lam.item() == 2.0


@pytest.mark.parametrize("value", [xr.Dataset({"x": ("x", [1.0])}), {0.0: np.zeros((40, 40))}])
def test_invalid_values_are_shown_on_one_line(plain, value):
    assert refused(lambda: plain.fastlin.select(lam=value)) is None


def test_a_range_holds_its_ends_as_single_values_do(plain):
    """A grid of thirds has -0.33333333333333304, which a selection of -1/3 matches."""
    thirds = plain.assign_coords(lam=[-1.0, -1 / 3 + 3e-16, 1 / 3 - 3e-16, 1.0, 2.0])
    assert thirds.fastlin.select(lam=1 / 3).lam.size == 1
    assert thirds.fastlin.select(lam=slice(None, -1 / 3)).lam.size == 2


def test_a_selection_from_an_empty_axis_is_refused_in_one_line(plain):
    nothing = plain.isel(lam=[])
    assert refused(lambda: nothing.fastlin.select(lam=slice(0, 1))) is None


@given(st.text("0123456789-_+. e\u0664\uff14\u00b2", max_size=9))
def test_sizes_are_read_as_they_are_printed(text):
    shape = refused(lambda: fl.Architecture.read(text))
    assert shape is None or re.fullmatch(r"0*[1-9][0-9]*(-0*[1-9][0-9]*){2}", text)
    assert fl.Architecture.read("4-2-4") == fl.Architecture(4, 2, 4)
    assert refused(lambda: fl.Architecture.read("\u0664-2-4")) is None


# ---- numbers


def test_passage_of_the_full_drop_is_where_the_loss_first_reaches_its_last_value(plain):
    loss = plain.loss.values
    first = np.argmax(loss <= loss[..., -1:], axis=-1)
    earlier = plain.time.values[first]
    passage = plain.fastlin.passage_time(1.0).values
    assert (passage <= earlier).all()
    assert (passage > plain.time.values[np.maximum(first - 1, 0)]).all()


def test_a_loss_that_rises_has_no_passage_time():
    assert np.isnan(_first_passage(np.array([1.0, 4.0, 2.0]), np.arange(3.0), 0.5))


def select_times(dataset, times):
    return dataset.fastlin.select(architecture="4-2-2", init_scale=1.0, time=times)


def test_the_order_of_selected_times_changes_no_number(plain):
    unsorted, sorted_ = (select_times(plain, times) for times in ([INF, 0.0, 10.0], [0.0, 10.0, INF]))
    assert np.array_equal(unsorted.fastlin.passage_time(0.5), sorted_.fastlin.passage_time(0.5))


def test_the_order_of_selected_times_changes_no_picture(plain):
    meshes = []
    for times in ([10.0, 0.1, 1.0], [0.1, 1.0, 10.0]):
        ax = select_times(plain, times).fastlin.phase_diagram(threshold=())
        mesh = ax.collections[0]
        meshes.append((mesh.get_coordinates()[:, 0, 1], mesh.get_array().ravel()))
    for one, other in zip(*meshes, strict=True):
        assert np.array_equal(one, other)


def test_convergence_times_of_a_reduced_store_are_those_of_its_means(folder, plain):
    reduced = fl.open_sweep(folder / "reduced").fastlin.passage_time(0.5)
    means = plain.fastlin.mean_over_seeds().fastlin.passage_time(0.5)
    assert reduced.dims == means.dims
    assert np.allclose(reduced, means, rtol=1e-9)


def test_the_mean_of_a_reduced_store_may_be_selected(folder):
    reduced = fl.open_sweep(folder / "reduced").load()
    selected = reduced.fastlin.select(statistic="mean").fastlin.regime()
    xr.testing.assert_equal(selected.drop_vars("statistic"), reduced.fastlin.regime())


def of_seeds(values):
    """Return a dataset with the schema of a sweep, over seeds only."""
    seeds = {"seed": np.arange(values.size), "status": ("seed", np.full(values.size, "ok"))}
    return xr.Dataset({"ntk_norm": ("seed", values)}, seeds)


@given(st.floats(1e-6, 1e-3))
def test_means_of_float32_lose_nothing_to_float32(spread):
    values = (1.0 + spread * np.random.default_rng(0).random(3000)).astype(np.float32)
    single, double = (of_seeds(array).fastlin.mean_over_seeds() for array in (values, values.astype(float)))
    for name in ("ntk_norm", "ntk_norm_standard_error"):
        assert np.allclose(single[name], double[name], rtol=1e-7, atol=0.0)


def test_plain_xarray_of_a_store_gives_the_same_means_or_is_refused(folder, plain):
    stored = xr.open_zarr(folder / "plain", consolidated=False)
    means = refused(lambda: stored.fastlin.mean_over_seeds().load())
    assert means is None or np.allclose(means.loss, plain.fastlin.mean_over_seeds().loss)


@pytest.mark.parametrize("lose", [lambda d: d.drop_vars("status"), lambda d: d.mean("lam")])
def test_a_dataset_that_lost_its_status_has_means_or_is_refused(plain, lose):
    means = refused(lambda: lose(plain).fastlin.mean_over_seeds())
    assert means is None or np.allclose(means.loss, lose(plain).loss.mean("seed"))


def test_the_mean_of_one_seed_has_no_error_and_no_warning(folder):
    means = fl.open_sweep(folder / "one-seed").fastlin.mean_over_seeds().load()
    assert means.loss_standard_error.isnull().all()


def test_pictures_of_observables_and_datasets_leave_out_diverged_points(folder):
    part = fl.open_sweep(folder / "diverging").fastlin.select(architecture="4-2-2", init_scale=1.0).load()
    assert (part.status == "diverged").any()
    drawn = [
        np.ma.filled(ax.collections[0].get_array(), np.nan)
        for ax in (fl.plot.phase_diagram(part.loss), part.fastlin.phase_diagram(observable="loss"))
    ]
    assert np.array_equal(*drawn, equal_nan=True)


# ---- pictures


@pytest.mark.parametrize(
    "call",
    [
        lambda one: fl.plot.phase_diagram(one.kernel_distance * np.nan, contours=(0.1, 0.2)),
        lambda one: fl.plot.phase_diagram(one.kernel_distance * 0 + 0.1, contours=(0.1,)),
        lambda one: fl.plot.phase_diagram(one.kernel_distance.where(one.lam > 0, INF), contours=(0.1,)),
        lambda one: fl.plot.profile(one.kernel_distance.isel(time=2) * np.nan),
        lambda one: fl.plot.profile(one.kernel_distance.isel(time=2, lam=[1])),
        lambda one: fl.plot.trajectories(one.kernel_distance.isel(time=[2])),
        lambda one: fl.plot.profile(one.kernel_distance.isel(time=2, lam=1), "seed"),
        lambda one: fl.plot.trajectories(one.kernel_distance.isel(lam=[])),
        lambda one: one.fastlin.phase_diagram(threshold=(0.2, 0.05)),
        lambda one: one.fastlin.phase_diagram(threshold=(0.1, 0.1)),
        lambda one: one.fastlin.phase_diagram(threshold="rich"),
        lambda one: fl.plot.trajectories(None),
        lambda one: fl.plot.matrices(np.eye(3)),
    ],
)
def test_odd_values_are_drawn_or_refused_in_one_line(plain, call):
    one = plain.isel(architecture=0, init_scale=0)
    ax = refused(lambda: call(one))
    if ax is not None:
        ax.figure.canvas.draw()
