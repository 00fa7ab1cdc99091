"""`ds.fastlin`: selections by value, means with their errors, regimes and convergence times."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.observables.regimes import regime
from fastlin.sweeps.read.accessor import _first_passage
from fastlin.sweeps.read.selection import position
from tests import sweeping

TIMES = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, float("inf")]
# All three, as in other tests, because one kernel computes them together.
SCALES = ["convergence_time", "rotation_time", "escape_time"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store of both solvers, in which some points diverge."""
    path = tmp_path_factory.mktemp("accessor") / "both.zarr"
    dynamics = {"solver": ["exact", "gradient_descent"], "learning_rate": 0.2, "times": [0.0, 1.0, 8.0]}
    axes = sweeping.spec()["axes"] | {"lam": [-4.0, 0.5, 30.0]}
    fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics), path)
    return fl.open_sweep(path)


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    path = tmp_path_factory.mktemp("accessor") / "exact.zarr"
    output = {"observables": ["loss", "kernel_distance", *SCALES], "fraction": 0.9}
    fl.run_sweep(sweeping.spec(dynamics={"times": TIMES}, output=output), path)
    return fl.open_sweep(path)


def test_selection_by_values(stored):
    part = stored.fastlin.select(
        architecture="2-3-4", solver="exact", lam=slice(-5, 1), seed=[4, 1], init_scale=0.5, time=8
    )
    expected = stored.isel(architecture=2, init_scale=0, time=2, lam=[0, 1], seed=[4, 1]).sel(
        {"solver": "exact"}
    )
    xr.testing.assert_identical(part.load(), expected.load())
    for same in ((2, 3, 4), fl.Architecture(2, 3, 4), stored.architecture[2]):
        assert stored.fastlin.select(architecture=same).architecture == "2-3-4"
    for names in (stored.architecture[1:], [(3, 4, 3), "2-3-4"], np.array(["3-4-3", "2-3-4"])):
        selected = stored.fastlin.select(architecture=names).architecture
        assert selected.values.tolist() == ["3-4-3", "2-3-4"]
    reselected = stored.fastlin.select(lam=part.lam, seed=part.seed, init_scale=part.init_scale)
    assert reselected.loss.sizes["lam"] == reselected.loss.sizes["seed"] == 2
    assert "init_scale" not in reselected.dims
    assert stored.architecture.values.tolist() == ["4-2-2", "3-4-3", "2-3-4"]
    nets = [
        fl.rebuild(stored, architecture, seed=3, lam=0.5, init_scale=0.5)[1]
        for architecture in ("2-3-4", (2, 3, 4), fl.Architecture(2, 3, 4))
    ]
    assert all(np.array_equal(net.w1, nets[0].w1) for net in nets)
    with pytest.raises(fl.InputError, match="architecture is '2-3-5'; did you mean '2-3-4'"):
        fl.rebuild(stored, "2-3-5", seed=3, lam=0.5, init_scale=0.5)
    assert stored.fastlin.select(n_h=3).architecture.values.tolist() == ["2-3-4"]
    assert stored.fastlin.select(architecture=["2-3-4", "4-2-2"]).n_h.values.tolist() == [3, 2]
    assert stored.bottleneck_ratio.values.tolist() == [1.0, 4 / 3, 1.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lamb": 1.0}, "'lamb' is no axis of the sweep; did you mean 'lam'"),
        ({"lam": 0.4}, r"lam = 0.4 is not on the axis of the sweep; nearest: -4.0, 0.5, 30.0"),
        ({"lam": slice(1, 2)}, "lam has no value from 1 to 2; it has -4.0 to 30.0"),
        ({"time": float("inf")}, "time = inf is not on the axis"),
        ({"solver": "gd"}, "solver is 'gd'; allowed: exact, gradient_descent"),
        ({"solver": slice("a", "b")}, "a range is slice"),
        ({"architecture": "2-2-2"}, "architecture is '2-2-2'; did you mean '4-2-2'"),
        ({"architecture": 2}, "architecture is 2; allowed: 4-2-2, 3-4-3, 2-3-4"),
        ({"architecture": ["4-2-2", 0]}, "architecture is 0; allowed"),
        ({"n_h": 7}, "n_h = 7 is not on the axis of the sweep; nearest: 2, 3, 4"),
        ({"seed": True}, "a whole number is needed"),
        ({"seed": 1.5}, "a whole number is needed"),
    ],
)
def test_invalid_selections_are_named(stored, values, message):
    with pytest.raises(fl.InputError, match=message):
        stored.fastlin.select(**values)


@pytest.mark.parametrize(("value", "nearest"), [(np.inf, "2.5, 7.0, 8.0"), (-np.inf, "-9.0, -3.0, 1.0")])
def test_the_outermost_values_are_nearest_to_inf(value, nearest):
    with pytest.raises(
        fl.InputError, match=f"lam = {value} is not on the axis of the sweep; nearest: {nearest}$"
    ):
        position("lam", value, np.array([1.0, -9.0, 8.0, 2.5, 7.0, -3.0]))


def test_means_are_over_ok_points_with_their_errors(stored):
    means = stored.fastlin.mean_over_seeds().load()
    ok = (stored.status == "ok").load()
    assert 0 < float((~ok).mean()) < 0.5
    assert (means["count"] == ok.sum("seed")).all()
    loss = stored.loss.load().where(ok)
    assert np.array_equal(means.loss, loss.mean("seed"), equal_nan=True)
    error = loss.std("seed", ddof=1) / np.sqrt(means["count"])
    assert np.allclose(means.loss_standard_error, error, rtol=1e-12, equal_nan=True)
    assert means.loss.attrs["ancillary_variables"] == "loss_standard_error"
    assert "seed" not in means.dims
    assert set(means.coords) == set(stored.coords) - {"seed", "status"}
    with pytest.raises(fl.InputError, match="no axis 'seed'"):
        means.fastlin.mean_over_seeds()


def test_means_of_a_reduced_store_are_its_own(tmp_path):
    axes = sweeping.spec()["axes"] | {"seed": {"start": 0, "num": 30}}
    observables = [*sweeping.spec()["output"]["observables"], *SCALES]
    fl.run_sweep(sweeping.spec(axes=axes, output={"observables": observables}), tmp_path / "all.zarr")
    reduce = {"statistics": ["mean", "std"]}
    output = {"observables": observables, "reduce": reduce}
    fl.run_sweep(sweeping.spec(axes=axes, output=output), tmp_path / "reduced.zarr")
    one, other = (
        fl.open_sweep(tmp_path / name).fastlin.mean_over_seeds().load()
        for name in ("all.zarr", "reduced.zarr")
    )
    assert set(one) == set(other)
    for name in one:
        assert one[name].dims == other[name].dims
        assert np.allclose(one[name], other[name], rtol=1e-11, equal_nan=True), name
    regimes = [fl.open_sweep(tmp_path / "reduced.zarr").fastlin.regime(), one.fastlin.regime()]
    assert (regimes[0] == regimes[1]).all()


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    path = tmp_path_factory.mktemp("accessor") / "reduced.zarr"
    fl.run_sweep(sweeping.spec(output={"observables": ["loss"], "reduce": {"over": "seed"}}), path)
    return fl.open_sweep(path)


def test_a_reduced_store_has_no_seed_to_select(reduced):
    with pytest.raises(fl.InputError, match=r"^the store holds statistics over seeds, so that there is no"):
        reduced.fastlin.select(seed=3)
    for name in ("seed_block", "tim"):  # "seed_block" is how the store is cut, and no axis of the sweep
        with pytest.raises(fl.InputError, match=f"'{name}' is no axis of the sweep") as caught:
            reduced.fastlin.select(**{name: 0})
        assert "seed_block" not in str(caught.value).removeprefix("'seed_block'")


def test_regimes_follow_the_conventions(exact, tmp_path):
    regimes = exact.fastlin.regime((0.1, 0.4)).load()
    distance = exact.kernel_distance.load()
    assert (regimes == np.digitize(distance, [0.1, 0.4])).all()
    assert regimes.attrs["flag_values"].tolist() == [0, 1, 2]
    assert regimes.attrs["flag_values"].dtype == regimes.dtype == np.int8
    assert regimes.attrs["flag_meanings"] == "lazy intermediate rich"
    assert set(np.unique(exact.fastlin.regime(0.3))) == {0, 2}
    missing = regime(distance.where(distance.time < 5))
    assert (missing.isel(time=-1) == -1).all()
    missing.drop_vars("status").to_zarr(tmp_path / "r.zarr", consolidated=False)
    saved = xr.open_zarr(tmp_path / "r.zarr", consolidated=False).regime
    assert np.array_equal(saved, missing.where(missing >= 0), equal_nan=True)
    for wrong in (1.5, (0.5, 0.1), (0.1, 0.2, 0.3), "rich"):
        with pytest.raises(fl.InputError, match="threshold is"):
            exact.fastlin.regime(wrong)


@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_convergence_times_of_a_store_bracket_the_exact_ones(exact, fraction):
    """They lie between the stored times around the exact time, for networks whose limit is the least loss."""
    passage_times = exact.fastlin.passage_time(fraction).load()
    assert passage_times.dims == ("architecture", "init_scale", "seed", "lam")
    checked = 0
    for place in np.ndindex(passage_times.shape):
        point = dict(zip(passage_times.dims, place, strict=True))
        values = {name: passage_times[name].values[index] for name, index in point.items()}
        task, net = fl.rebuild(exact, **values)
        network = fl.exact(task, net, [1.0], ["convergence_time"], fraction=fraction)
        moment, stored = float(network.convergence_time), float(passage_times[point])
        if np.isinf(moment):  # at a saddle the loss falls only to the last loss of the store
            continue
        after = np.searchsorted(TIMES, moment)
        assert TIMES[after - 1] <= stored <= TIMES[after], (point, moment, stored)
        checked += 1
    assert checked > 0.8 * passage_times.size


def test_convergence_times_need_a_loss(stored, exact):
    with pytest.raises(fl.InputError, match="one time only"):
        exact.fastlin.select(time=1.0).fastlin.passage_time()
    with pytest.raises(fl.InputError, match="observable 'loss' is not in the sweep"):
        exact.drop_vars("loss").fastlin.passage_time()
    with pytest.raises(fl.InputError, match=r"fraction is 1\.5"):
        exact.fastlin.passage_time(1.5)
    late = stored.fastlin.passage_time(0.9).load()
    assert np.array_equal(late.isnull(), stored.status != "ok")


@given(
    st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8),
    st.floats(0.01, 1.0),
)
def test_first_passage_lies_on_the_line_between_stored_losses(falls, fraction):
    loss = 10.0 - np.concatenate([[0.0], np.cumsum(falls)])
    times = np.arange(loss.size, dtype=float) ** 2
    passage = _first_passage(loss, times, fraction)
    level = loss[0] - fraction * (loss[0] - loss[-1])
    assert np.interp(passage, times, loss) == pytest.approx(level, rel=1e-12)


@pytest.mark.parametrize("name", ["architecture", "lam", "seed", "time"])
def test_a_value_is_selected_once(exact, name):
    value = exact[name].values.tolist()[0]
    with pytest.raises(fl.InputError, match=f"{name} = .* is selected twice; name each value once"):
        exact.fastlin.select(**{name: [value, value]})


def test_phase_diagrams_by_sizes(exact):
    late = exact.fastlin.select(init_scale=1.0, time=float("inf"))
    ax = late.fastlin.phase_diagram("lam", "bottleneck_ratio")
    drawn = ax.collections[0].get_array()
    assert np.allclose(drawn, late.kernel_distance.mean("seed"))  # ratios rise with the index
    assert r"\min" in ax.get_ylabel()
    assert len(ax.collections) == 2  # the mesh, and the borders of regimes
    plain = late.fastlin.phase_diagram("lam", "n_h", threshold=())
    assert len(plain.collections) == 1
    with pytest.raises(fl.InputError, match="n_o has fewer than two values that can be drawn"):
        late.isel(architecture=[0]).fastlin.phase_diagram("lam", "n_o")
    with pytest.raises(fl.InputError, match="observable 'los' is not in the sweep; did you mean 'loss'"):
        late.fastlin.phase_diagram("lam", "n_h", "los")


PROBE = """
import json, resource, sys
import numpy as np
import dask
import fastlin as fl
dask.config.set(scheduler="threads", num_workers=2)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
warm = fl.open_sweep(sys.argv[1])
warm.fastlin.mean_over_seeds().load(); warm.fastlin.regime().mean().load()
warm.fastlin.passage_time().mean().load()
before = peak()
ds = fl.open_sweep(sys.argv[2])
size = ds.nbytes / 1e6
means = ds.fastlin.mean_over_seeds().load()
rich = (ds.fastlin.regime() == 2).mean().load()
time = ds.fastlin.passage_time().max().load()
part = ds.fastlin.select(lam=[-9.0, 9.0], time=float("inf")).kernel_distance.mean("seed").load()
print(json.dumps([size, peak() - before, float(means.loss.mean()), float(rich), float(time)]))
"""


@pytest.mark.slow
@pytest.mark.processes
def test_a_store_is_analysed_in_a_fifth_of_its_size(tmp_path):
    """Analysis of a large store takes less than a fifth of its size, beyond the memory for a small store."""
    times = [0.0, 0.1, 1.0, 10.0, float("inf")]

    def sweep(name, seeds):
        content = {
            "axes": {
                "architecture": [[4, 2, 4], [2, 2, 4]],
                "seed": {"start": 0, "num": seeds},
                "lam": {"start": -9.0, "stop": 9.0, "num": 101},
            },
            "task": {"n_samples": 10, "target_scale": 3**0.5},
            "dynamics": {"times": times},
        }
        fl.run_sweep(content, tmp_path / name)

    sweep("small.zarr", 10)
    sweep("large.zarr", 32_000)
    command = [sys.executable, "-c", PROBE, tmp_path / "small.zarr", tmp_path / "large.zarr"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    size, memory, loss, rich, time = json.loads(done.stdout)
    assert size > 500
    assert memory < size / 5, (memory, size)
    assert 0 < loss < 5
    assert 0 < rich < 1
    assert time > 10
