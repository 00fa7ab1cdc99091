"""Statistics over seeds: those of every point, whatever the blocks, and nothing else in the store."""

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run import plan
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.spec.reduction import QUANTILE_EDGES
from fastlin.sweeps.store.layout import StoreLayout
from tests import cutting, sweeping
from tests.sweeping import content

OBSERVABLES = ["loss", "kernel_distance", "weight_norms"]
AXES = sweeping.spec()["axes"] | {"seed": {"start": 0, "num": 25}, "init_scale": [1.0]}


def reduced(num=25, dtype="float64", **reduce):
    output = {"observables": OBSERVABLES, "dtype": dtype, "reduce": {"over": "seed", **reduce}}
    return sweeping.spec(axes=AXES | {"seed": {"start": 0, "num": num}}, output=output)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Every point of the sweep, without reduction."""
    path = tmp_path_factory.mktemp("points") / "all.zarr"
    fl.run_sweep(sweeping.spec(axes=AXES, output={"observables": OBSERVABLES}), path)
    return fl.open_sweep(path).load()


def cut_into(monkeypatch, seeds):
    """Cut sweeps into blocks of so many seeds."""

    def of(spec):
        return Plan(StoreLayout((spec,), cutting.shape_of(spec, seeds=seeds)))

    monkeypatch.setattr(plan.Plan, "of", of)


def statistics(path):
    """Return what a store holds, but for how its seeds were cut."""
    return fl.open_sweep(path).load().drop_vars(["status", "seed_block"])


def test_statistics_are_those_of_the_points(points, tmp_path):
    fl.run_sweep(reduced(), tmp_path / "r.zarr")
    dataset = statistics(tmp_path / "r.zarr")
    assert (dataset["count"] == 25).all()
    assert set(dataset.data_vars) == {*OBSERVABLES, "count"}
    for name in OBSERVABLES:
        here, over = dataset[name], points[name]
        assert np.abs(here.sel(statistic="mean") - over.mean("seed")).max() < 1e-15 * 25 * over.max()
        assert np.abs(here.sel(statistic="std") - over.std("seed", ddof=1)).max() < 1e-13
        assert (here.sel(statistic="min") == over.min("seed")).all()
        assert (here.sel(statistic="max") == over.max("seed")).all()


@pytest.mark.parametrize("options", [{}, {"quantiles": [0.1, 0.5]}, {"histogram": [0.0, 0.25, 0.5, 1.0]}])
def test_blocks_change_no_bit(tmp_path, monkeypatch, options):
    fl.run_sweep(reduced(**options), tmp_path / "whole.zarr")
    for seeds in (1, 7, 24):
        cut_into(monkeypatch, seeds)
        path = tmp_path / f"{seeds}.zarr"
        assert fl.run_sweep(reduced(**options), path).blocks == 3 * -(-25 // seeds)
        assert statistics(path).identical(statistics(tmp_path / "whole.zarr"))


def test_quantiles_are_off_by_less_than_a_128th(points, tmp_path):
    wanted = [0.0, 0.25, 0.5, 1.0]
    fl.run_sweep(reduced(statistics=["mean"], quantiles=wanted), tmp_path / "q.zarr")
    dataset = statistics(tmp_path / "q.zarr")
    assert dataset.statistic.values.tolist() == ["mean", *(f"quantile {q:g}" for q in wanted)]
    for name in OBSERVABLES:
        exact = points[name].quantile(wanted, "seed", method="inverted_cdf").transpose(..., "quantile")
        found = dataset[name].isel(statistic=slice(1, None)).values
        away = np.abs(found - exact.values)
        assert (away <= np.where(exact.values < 2.0**-40, 2.0**-40, exact.values / 128)).all(), name


def test_bins_of_quantiles_are_a_64th_wide():
    widths = np.diff(QUANTILE_EDGES[1:-1]) / QUANTILE_EDGES[1:-2]
    assert widths.max() == 1 / 64
    assert (QUANTILE_EDGES[1], QUANTILE_EDGES[-2]) == (2.0**-40, 2.0**16)


def test_histograms_are_numpys(points, tmp_path):
    edges = {"start": 0.0, "stop": 2.0, "num": 9}
    fl.run_sweep(reduced(statistics="mean", histogram=edges), tmp_path / "h.zarr")
    dataset = statistics(tmp_path / "h.zarr")
    borders = np.linspace(0, 2, 9)
    assert (dataset.bin_left == borders[:-1]).all()
    assert (dataset.bin_right == borders[1:]).all()
    here = {"architecture": "3-4-3", "init_scale": 1.0, "lam": 2.0, "time": 0.9}
    expected = np.histogram(points.loss.sel(here).values, borders)[0]
    assert (dataset.loss_histogram.sel(here).values == expected).all()


def test_more_seeds_fold_only_the_new_ones(tmp_path, monkeypatch):
    cut_into(monkeypatch, 10)
    path, fresh = tmp_path / "grown.zarr", tmp_path / "fresh.zarr"
    fl.run_sweep(reduced(15), path)
    old = fl.open_sweep(path)
    report = fl.run_sweep(reduced(25), path)
    assert report.computed_points == 3 * 10 * 5
    fl.run_sweep(reduced(25), fresh)
    assert statistics(path).identical(statistics(fresh))
    assert old.sizes["lam"] == 5
    assert (old["count"].load() == 25).all()


def test_an_interrupted_sweep_is_finished_and_the_same(tmp_path, monkeypatch):
    cut_into(monkeypatch, 10)
    path, whole = tmp_path / "cut.zarr", tmp_path / "whole.zarr"
    for place in (path, whole):
        fl.run_sweep(reduced(), place)
    for lost in ("status/c.1.0.1.0", "partials/c.1.0.1.0.0.0.0", "loss/c.1.0.0.0.0", "count/c.1.0.0"):
        (path / lost).unlink()
    pending = fl.open_sweep(path)
    assert np.isnan(pending.loss.sel(architecture="3-4-3")).all()
    assert fl.run_sweep(reduced(), path).computed_blocks == 1
    assert content(path) == content(whole)


@pytest.mark.parametrize("sizes", [{"architectures": 2, "seeds": 10}, {"architectures": 3, "seeds": 25}])
@pytest.mark.parametrize("options", [{}, {"quantiles": [0.1, 0.5]}, {"histogram": [0.0, 0.25, 0.5, 1.0]}])
def test_blocks_of_several_architectures_change_no_bit(tmp_path, sizes, options):
    """Nor after a block of them was lost, and with it the statistics that span them."""
    whole, path = tmp_path / "whole.zarr", tmp_path / "joined.zarr"
    fl.run_sweep(reduced(**options), whole)
    with cutting.into(**sizes):
        report = fl.run_sweep(reduced(**options), path)
    assert report.blocks == -(-3 // sizes["architectures"]) * -(-25 // sizes["seeds"])
    assert statistics(path).identical(statistics(whole))
    expected = content(path)
    for lost in ("status/c.0.0.0.0", "partials/c.0.0.0.0.0.0.0", "loss/c.0.0.0.0.0", "count/c.0.0.0"):
        (path / lost).unlink()
    assert fl.run_sweep(reduced(**options), path).computed_blocks == 1
    assert content(path) == expected


def test_points_are_counted_with_their_seeds(tmp_path):
    report = fl.run_sweep(reduced(), tmp_path / "r.zarr")
    assert (report.points, report.ok, report.computed_points) == (375, 375, 375)


def test_points_that_diverge_are_left_out(tmp_path, monkeypatch):
    cut_into(monkeypatch, 2)
    axes = {"architecture": [4, 2, 4], "seed": {"start": 0, "num": 5}, "lam": [0.0, 400.0]}
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "times": [0.0, 5.0]}
    output = {"observables": ["loss"], "reduce": {}}
    spec = sweeping.spec(axes=axes, dynamics=dynamics, output=output)
    report = fl.run_sweep(spec, tmp_path / "wild.zarr")
    assert (report.ok, report.diverged, report.failed) == (5, 5, 0)
    dataset = statistics(tmp_path / "wild.zarr").squeeze()
    assert dataset["count"].values.tolist() == [5, 0]
    assert np.isnan(dataset.loss.sel(lam=400.0)).all()
    assert np.isfinite(dataset.loss.sel(lam=0.0)).all()


def test_float32_rounds_the_statistics_and_not_the_points(tmp_path):
    for dtype in ("float64", "float32"):
        fl.run_sweep(reduced(dtype=dtype), tmp_path / f"{dtype}.zarr")
    fine, coarse = (statistics(tmp_path / f"{dtype}.zarr") for dtype in ("float64", "float32"))
    assert coarse.loss.dtype == np.float32
    assert (coarse.loss == fine.loss.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("reduce", "message"),
    [
        ({"over": "lam"}, "output.reduce.over is 'lam'; allowed: seed"),
        ({"statistics": ["median"]}, "output.reduce.statistics is 'median'; .*allowed: mean, std, min, max"),
        ({"quantile": [0.5]}, "unknown key 'quantile'; did you mean 'quantiles'"),
        ({"quantiles": [1.5]}, "at most 1"),
        ({"histogram": [1.0]}, "has one edge"),
        ({"quantiles": [0.5], "histogram": [0.0, 1.0]}, "quantiles and a histogram; give one"),
        (5, r"a table \[output.reduce\] is needed"),
    ],
)
def test_what_is_wrong_with_a_reduction_is_said(reduce, message):
    with pytest.raises(fl.InputError, match=message):
        fl.Spec.from_dict(sweeping.spec(output={"observables": ["loss"], "reduce": reduce}))


def test_a_reduced_sweep_is_drawn(tmp_path):
    fl.run_sweep(reduced(quantiles=[0.5]), tmp_path / "r.zarr")
    figure = fl.plot.sweep(fl.open_sweep(tmp_path / "r.zarr"), "loss", "lam", None)
    assert "mean over 25 seeds" in figure.get_suptitle().replace("\n", " ")
    fl.run_sweep(reduced(statistics=["max"]), tmp_path / "m.zarr")
    with pytest.raises(fl.InputError, match="holds no mean over seeds; it has max"):
        fl.plot.sweep(fl.open_sweep(tmp_path / "m.zarr"), "loss", "lam", None)
