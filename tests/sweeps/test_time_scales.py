"""Time scales in a sweep: every store has those of `fl.exact`, for any solver and form."""

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.store.verify import verify
from tests import sweeping

SCALES = ["convergence_time", "rotation_time", "escape_time"]
OUTPUT = {"observables": ["loss", *SCALES], "fraction": 0.9}
AXES = {
    "architecture": [[4, 2, 2], [3, 4, 3], [2, 3, 4], [4, 2, 4], [1, 1, 1]],
    "init_scale": [0.1, 1.0],
    "seed": {"start": 0, "num": 4},
    "lam": [-4.0, 0.0, 2.0],
}


def spec(output=OUTPUT, axes=AXES, **changes):
    return sweeping.spec(axes=axes, output=output, **changes)


def run(path, given_spec):
    """Run a sweep in which all points are ok, and return its dataset."""
    report = fl.run_sweep(given_spec, path)
    assert report.ok == report.points
    assert verify(path) == []
    return fl.open_sweep(path).load()


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return run(tmp_path_factory.mktemp("scales") / "s.zarr", spec())


def assert_rebuilt(dataset, rtol, fraction=0.9):
    """Compare every point with fl.exact of its network."""
    for point in dataset.stack(point=["architecture", "init_scale", "seed", "lam"]).point.values:
        coordinates = dict(zip(["architecture", "init_scale", "seed", "lam"], point, strict=True))
        task, net = fl.rebuild(dataset, **coordinates)
        expected = fl.exact(task, net, [0.0], SCALES, fraction=fraction)
        for name in SCALES:
            got = float(dataset[name].sel(coordinates))
            assert got == pytest.approx(float(expected[name]), rel=rtol), (name, coordinates)


def test_a_sweep_stores_what_exact_gives(stored):
    assert (stored.status == "ok").all()
    for name in SCALES:
        assert stored[name].dims == ("architecture", "init_scale", "seed", "lam")
        assert stored[name].attrs["equation"] == fl.OBSERVABLES[name].equation
    assert stored.loss.dims[-1] == "time"
    assert_rebuilt(stored, 1e-10)


def test_a_sweep_stores_what_exact_gives_for_any_size_of_weights(tmp_path):
    axes = AXES | {"architecture": AXES["architecture"][2:4], "init_scale": [1e-8, 1e4]}
    assert_rebuilt(run(tmp_path / "s.zarr", spec(axes=axes, dynamics={"times": [0.0]})), 1e-10)


def test_a_sweep_stores_infinite_times(stored):
    # Half of the 1-1-1 networks have the wrong sign. From small weights their loss cannot drop by 90 %.
    square = stored.sel(architecture="1-1-1", lam=0.0, init_scale=0.1)
    never = np.isinf(square.convergence_time)
    assert 0 < int(never.sum()) < never.size
    assert (np.isinf(square.escape_time) == never).all()
    for name in SCALES:
        assert np.isfinite(stored[name].sel(lam=2.0)).all()
        assert not np.isnan(stored[name]).any()


def test_a_sweep_may_store_time_scales_only(stored, tmp_path):
    alone = run(tmp_path / "s.zarr", spec({"observables": ["rotation_time"]}))
    assert alone.rotation_time.equals(stored.rotation_time)


def test_float32_rounds_time_scales(stored, tmp_path):
    coarse = run(tmp_path / "s.zarr", spec(OUTPUT | {"dtype": "float32"}))
    for name in SCALES:
        assert coarse[name].dtype == np.float32
        assert (coarse[name] == stored[name].astype(np.float32)).all()


def test_both_solvers_store_those_of_the_exact_flow(stored, tmp_path):
    dynamics = sweeping.BOTH | {"learning_rate": [0.009, 0.018]}
    both = run(tmp_path / "s.zarr", spec(dynamics=dynamics))
    descent = run(tmp_path / "gd.zarr", spec(dynamics=sweeping.BOTH | {"solver": "gradient_descent"}))
    for name in SCALES:
        assert both[name].dims == ("architecture", "init_scale", "solver", "learning_rate", "seed", "lam")
        assert (both[name] == stored[name]).all()
        assert descent[name].equals(stored[name])


@pytest.mark.parametrize("solver", ["exact", "gradient_descent"])
def test_networks_too_large_for_lanes(solver, tmp_path):
    axes = {"architecture": [44, 42, 44], "seed": [3], "init_scale": [0.1], "lam": [-1.0, 0.0, 0.5]}
    dynamics = {"solver": solver, "times": [0.0, 0.9]} | (
        {"learning_rate": 0.009} if solver == "gradient_descent" else {}
    )
    task = {"n_samples": 60, "target_scale": 3.0}
    dataset = run(tmp_path / "s.zarr", spec(axes=axes, dynamics=dynamics, task=task))
    assert_rebuilt(dataset, 1e-10)


@pytest.mark.parametrize("solver", ["exact", "gradient_descent"])
def test_reduced_sweeps_hold_statistics_of_them(stored, tmp_path, solver):
    dynamics = sweeping.BOTH | {"solver": solver}
    reduced = run(tmp_path / "r.zarr", spec(OUTPUT | {"reduce": {}}, dynamics=dynamics))
    for name in SCALES:
        assert reduced[name].dims == ("architecture", "init_scale", "lam", "statistic")
        statistics = reduced[name]
        mean = stored[name].mean("seed")
        assert np.allclose(statistics.sel(statistic="mean"), mean, rtol=1e-14, atol=0)
        assert (statistics.sel(statistic="min") == stored[name].min("seed")).all()
        assert (statistics.sel(statistic="max") == stored[name].max("seed")).all()
    assert np.isinf(reduced.escape_time.sel(statistic="mean", architecture="1-1-1", lam=0.0)).any()
    assert (reduced["count"] == 4).all()


@pytest.mark.parametrize("reduction", [{}, {"reduce": {"quantiles": [0.5]}}], ids=["points", "statistics"])
def test_a_sweep_with_time_scales_grows(tmp_path, reduction):
    small = AXES | {"architecture": AXES["architecture"][:2], "seed": [0, 1], "lam": [-4.0, 2.0]}
    large = small | {"seed": [0, 1, 2], "lam": [-4.0, 0.0, 2.0]}
    output, path = OUTPUT | reduction, tmp_path / "grown.zarr"
    fl.run_sweep(spec(output, small, dynamics={"times": [0.0, 0.9]}), path)
    later = spec(output, large, dynamics={"times": [0.0, 0.3, 0.9]})
    grown, fresh = run(path, later), run(tmp_path / "fresh.zarr", later)
    for name in SCALES:
        assert grown[name].identical(fresh[name]), name


def test_a_sweep_with_time_scales_is_completed_after_lost_chunks(stored, tmp_path):
    fl.run_sweep(spec(), tmp_path / "s.zarr")
    for lost in ("status/c.1.0.0.0", "convergence_time/c.1.0.0.0"):
        (tmp_path / "s.zarr" / lost).unlink()
    report = fl.run_sweep(spec(), tmp_path / "s.zarr")
    assert report.computed_blocks == 1
    assert fl.open_sweep(tmp_path / "s.zarr").load().identical(stored)


def test_fraction_is_part_of_a_spec():
    made = fl.Spec.from_dict(spec())
    assert fl.Spec.from_dict(made.to_dict()).hash == made.hash
    assert fl.Spec.from_dict(spec(OUTPUT | {"fraction": 0.8})).hash != made.hash
    plain = fl.Spec.from_dict(spec({"observables": OUTPUT["observables"]}))
    assert fl.Spec.from_dict(spec(OUTPUT | {"fraction": 0.99})).hash == plain.hash


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1, "most", True, [0.9]])
def test_a_wrong_fraction_in_a_spec_is_named(fraction):
    with pytest.raises(fl.InputError, match=r"output\.fraction"):
        fl.Spec.from_dict(spec(OUTPUT | {"fraction": fraction}))
