"""Statistics over seeds: they equal those of all points for any block shape, and the store has no points."""

import json
import shutil

import numpy as np
import pytest
import zarr

import fastlin as fl
from fastlin.sweeps.run import plan
from fastlin.sweeps.run.compact import compact
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.spec.reduction import QUANTILE_EDGES
from fastlin.sweeps.store import codec
from fastlin.sweeps.store.contents import layout_of
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.status import sweep_status
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import verify
from tests import cutting, sweeping
from tests.commands import run_to_end
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
    """Cut sweeps into blocks of `seeds` seeds."""

    def of(spec):
        return Plan(layout_of((spec,), cutting.shape_of(spec, seeds=seeds)))

    monkeypatch.setattr(plan.Plan, "of", of)


def statistics(path):
    """Return the content of a store without the block shape of its seeds."""
    return fl.open_sweep(path).load().drop_vars(["status", "seed_block"])


def test_statistics_are_those_of_the_points(points, tmp_path):
    fl.run_sweep(reduced(), tmp_path / "r.zarr")
    dataset = statistics(tmp_path / "r.zarr")
    assert (dataset["count"] == 25).all()
    assert set(dataset.data_vars) == {*OBSERVABLES, "count"}
    for name in OBSERVABLES:
        stored, over = dataset[name], points[name]
        assert np.abs(stored.sel(statistic="mean") - over.mean("seed")).max() < 1e-15 * 25 * over.max()
        assert np.abs(stored.sel(statistic="std") - over.std("seed", ddof=1)).max() < 1e-13
        assert (stored.sel(statistic="min") == over.min("seed")).all()
        assert (stored.sel(statistic="max") == over.max("seed")).all()


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
        stored = dataset[name].isel(statistic=slice(1, None)).values
        away = np.abs(stored - exact.values)
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
    point = {"architecture": "3-4-3", "init_scale": 1.0, "lam": 2.0, "time": 0.9}
    expected = np.histogram(points.loss.sel(point).values, borders)[0]
    assert (dataset.loss_histogram.sel(point).values == expected).all()


@pytest.mark.parametrize("cut", [10, 100], ids="blocks of {}".format)
@pytest.mark.parametrize(("seeds", "computed"), [(15, 45), (35, 10)], ids=["few seeds", "more seeds"])
def test_more_seeds_fold_only_the_new_ones(tmp_path, monkeypatch, seeds, computed, cut):
    """A store of few seeds has no partial sums, and computes the old seeds again with the new seeds."""
    cut_into(monkeypatch, cut)
    path, fresh = tmp_path / "grown.zarr", tmp_path / "fresh.zarr"
    total = 45
    fl.run_sweep(reduced(seeds), path)
    old = fl.open_sweep(path)
    report = fl.run_sweep(reduced(total), path)
    assert report.computed_points == 3 * computed * 5
    fl.run_sweep(reduced(total), fresh)
    assert statistics(path).identical(statistics(fresh))
    assert old.sizes["lam"] == 5
    assert (old["count"].load() == total).all()
    assert verify(path) == []
    assert fl.run_sweep(reduced(total), path).computed_points == 0


def test_an_interrupted_sweep_is_finished_and_the_same(tmp_path, monkeypatch):
    cut_into(monkeypatch, 10)
    path, whole = tmp_path / "cut.zarr", tmp_path / "whole.zarr"
    for place in (path, whole):
        fl.run_sweep(reduced(), place)
    for lost in ("status/c.1.0.1.0", "loss/c.1.0.0.0.0", "count/c.1.0.0"):
        (path / lost).unlink()
    pending = fl.open_sweep(path)
    assert np.isnan(pending.loss.sel(architecture="3-4-3")).all()
    assert fl.run_sweep(reduced(), path).computed_blocks == 1
    assert content(path) == content(whole)


@pytest.mark.parametrize("number", [0, 1])
def test_merged_sums_that_are_lost_are_computed_again(tmp_path, monkeypatch, number):
    """The first block holds the sums of all seeds, so the others are computed again with it."""
    cut_into(monkeypatch, 10)
    path = tmp_path / "s.zarr"
    fl.run_sweep(reduced(), path)
    expected = content(path)
    assert [*(path / "partials").glob("c.1.*")] == [path / "partials" / "c.1.0.0.0.0.0.0"]
    (path / f"status/c.1.0.{number}.0").unlink()
    assert fl.run_sweep(reduced(), path).computed_blocks == (3 if number == 0 else 1)
    assert content(path) == expected
    (path / "partials/c.1.0.0.0.0.0.0").unlink()
    assert [damage.key for damage in verify(path)] == ["partials/c.1.0.0.0.0.0.0"]
    assert fl.run_sweep(reduced(), path).computed_blocks == 3
    assert content(path) == expected


@pytest.mark.parametrize("seeds", [6, 30])
def test_lam_and_architectures_grow_without_partial_sums(tmp_path, seeds):
    """Blocks whose sums were merged or dropped grow as well, and only new points are computed."""
    path, fresh = tmp_path / "s.zarr", tmp_path / "fresh.zarr"
    steps = [([0, 1], [0.0]), ([0, 1, 2], [0.0, 1.0]), ([0, 1, 2, 3], [-1.0, 0.0, 1.0])]
    shapes, before = [[4, 2, 2], [3, 4, 3], [2, 3, 4], [2, 1, 2]], 0
    with cutting.into(architectures=2, lams=2, seeds=seeds // 3):
        for chosen, lams in steps:
            axes = AXES | {
                "architecture": [shapes[number] for number in chosen],
                "lam": lams,
                "seed": {"start": 0, "num": seeds},
            }
            spec = sweeping.spec(axes=axes, output={"observables": ["loss"], "reduce": {}})
            report = fl.run_sweep(spec, path)
            points = len(chosen) * len(lams) * seeds
            assert (report.computed_points, report.pending) == (points - before, 0)
            before = points
        fl.run_sweep(spec, fresh)
    assert statistics(path).identical(statistics(fresh))
    assert verify(path) == []


def size(path):
    """Return the bytes of all files of a store."""
    return sum(map(len, content(path).values()))


def large(seeds, dtype, **output):
    """Return a spec whose numbers take more bytes than the metadata of its store."""
    axes = {"architecture": [4, 2, 4], "seed": {"start": 0, "num": seeds}}
    axes["lam"] = {"start": -4.0, "stop": 4.1, "num": 40}
    times = [*np.geomspace(0.1, 90.0, 19), np.inf]
    output = {"observables": OBSERVABLES, "dtype": dtype} | output
    return sweeping.spec(axes=axes, dynamics={"times": times}, output=output)


LARGEST = pytest.param((1000, "float32"), marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[(8, "float64"), (8, "float32"), (1000, "float64"), LARGEST])
def full(request, tmp_path_factory):
    """Return seeds, dtype and bytes of a store that holds every point."""
    path = tmp_path_factory.mktemp("full") / "s.zarr"
    fl.run_sweep(large(*request.param), path)
    return *request.param, size(path)


HISTOGRAM = {"histogram": {"start": 0.0, "stop": 2.0, "num": 33}}


EIGHT = pytest.param(8, marks=pytest.mark.slow)


@pytest.mark.parametrize("blocks", [1, EIGHT], ids="{} blocks of seeds".format)
@pytest.mark.parametrize("options", [{}, {"quantiles": [0.1, 0.5]}, HISTOGRAM], ids=["", "quantiles", "bins"])
def test_a_reduced_store_is_smaller_than_a_full_one(tmp_path, full, options, blocks):
    seeds, dtype, bytes_of_points = full
    spec, path = large(seeds, dtype, reduce=options), tmp_path / "s.zarr"
    with cutting.into(seeds=seeds // blocks):
        fl.run_sweep(spec, path)
        made = Plan.of(fl.Spec.from_dict(spec))
    assert size(path) <= bytes_of_points * (1.0 if seeds == 8 else 0.03)
    files, chunks = sweeping.content(path), sweeping.chunks(path)
    assert len(files) == made.files
    stored = sum(map(len, chunks.values()))
    documents = sum(map(len, files.values())) - stored
    estimated = made.bytes - documents
    assert 0.6 * estimated <= stored <= 1.25 * estimated
    assert stored <= made.most_bytes


@pytest.mark.parametrize("options", [{}, {"quantiles": [0.5]}, {"histogram": [0.0, 0.25, 1.0]}])
def test_zarr_reads_and_writes_the_same_chunks(tmp_path, monkeypatch, options):
    cut_into(monkeypatch, 30)
    path, copy = tmp_path / "s.zarr", tmp_path / "copy.zarr"
    fl.run_sweep(reduced(30, **options), path)
    shutil.copytree(path, copy)
    group = zarr.open_group(copy, mode="r+")
    store = Store.open(locate(path))
    arrays = {**store.layout.values, **store.layout.statistics}
    for name in arrays:
        everything = group[name][...]
        group[name][...] = everything
        assert everything.any()
    for name, form in arrays.items():
        index = (0,) * len(form.shape)
        file = path / form.key(name, index)
        if file.exists():
            assert (copy / form.key(name, index)).read_bytes() == file.read_bytes(), name
            decoded = codec.decode(form, index, file.read_bytes())
            assert np.array_equal(
                decoded, group[name][form.region(index)], equal_nan=decoded.dtype.kind == "f"
            )


@pytest.fixture
def with_partials(tmp_path, monkeypatch):
    """The path of a complete store with partial sums."""
    cut_into(monkeypatch, 10)
    fl.run_sweep(reduced(30), tmp_path / "s.zarr")
    return tmp_path / "s.zarr"


def test_compact_drops_partial_sums_and_nothing_else(with_partials):
    before, bytes_before = statistics(with_partials), size(with_partials)
    done = compact(with_partials)
    assert (done.bytes_before, done.bytes_after) == pytest.approx(
        (bytes_before, size(with_partials)), abs=2000
    )
    assert size(with_partials) < bytes_before
    assert not [*(with_partials / "partials").glob("c.*")]
    assert statistics(with_partials).identical(before)
    assert verify(with_partials) == []
    after = sweeping.chunks(with_partials)
    report = fl.run_sweep(reduced(30), with_partials)
    assert (report.computed_points, report.ok, report.pending) == (0, 450, 0)
    compact(with_partials)
    assert sweeping.chunks(with_partials) == after


def test_no_seeds_are_added_to_a_compacted_store(with_partials):
    compact(with_partials)
    before = content(with_partials)
    with pytest.raises(fl.InputError, match="was compacted, so seeds can no longer be added; run"):
        fl.run_sweep(reduced(40), with_partials)
    assert content(with_partials) == before


def test_other_axes_of_a_compacted_store_grow(with_partials, tmp_path):
    compact(with_partials)
    axes = AXES | {"seed": {"start": 0, "num": 30}, "lam": [*np.linspace(-4.0, 4.0, 5), 6.0]}
    larger = reduced(30) | {"axes": axes}
    assert fl.run_sweep(larger, with_partials).computed_points == 3 * 30
    fl.run_sweep(larger, tmp_path / "fresh.zarr")
    assert statistics(with_partials).identical(statistics(tmp_path / "fresh.zarr"))
    longer = larger | {"dynamics": {"times": [0.0, 0.9, 2.0, 9.0, np.inf]}}
    assert fl.run_sweep(longer, with_partials).computed_points == 3 * 30 * 6
    fl.run_sweep(longer, tmp_path / "longer.zarr")
    assert statistics(with_partials).identical(statistics(tmp_path / "longer.zarr"))
    assert not [*(with_partials / "partials").glob("c.*")]
    assert verify(with_partials) == []


@pytest.mark.parametrize("lost", ["loss/c.1.0.0.0.0", "status/c.1.0.1.0", "count/c.1.0.0"])
def test_damage_to_a_compacted_store_is_repaired(with_partials, lost):
    compact(with_partials)
    whole = sweeping.chunks(with_partials)
    (with_partials / lost).write_bytes(b"")
    assert [damage.key for damage in verify(with_partials)] == [lost]
    _, report = repair(with_partials)
    assert report.computed_blocks == 3
    assert sweeping.chunks(with_partials) == whole


def test_full_and_incomplete_stores_are_not_compacted(with_partials, tmp_path):
    fl.run_sweep(sweeping.spec(axes=AXES), tmp_path / "full.zarr")
    with pytest.raises(fl.InputError, match="holds every point, so there is nothing to compact"):
        compact(tmp_path / "full.zarr")
    (with_partials / "status/c.1.0.1.0").unlink()
    with pytest.raises(fl.InputError, match="has 50 pending points; complete it with fastlin run"):
        compact(with_partials)


@pytest.mark.processes
def test_compact_on_the_command_line(with_partials):
    done = run_to_end("compact", with_partials)
    assert done.code == 0
    assert "seeds can no longer be added" in done.out
    assert json.loads(run_to_end("compact", with_partials, "--json").out)["bytes_after"] > 0


@pytest.mark.parametrize("sizes", [{"architectures": 2, "seeds": 10}, {"architectures": 3, "seeds": 25}])
@pytest.mark.parametrize("options", [{}, {"quantiles": [0.1, 0.5]}, {"histogram": [0.0, 0.25, 0.5, 1.0]}])
def test_blocks_of_several_architectures_change_no_bit(tmp_path, sizes, options):
    """The bits do not change either after a block and the statistics that span it were lost."""
    whole, path = tmp_path / "whole.zarr", tmp_path / "joined.zarr"
    fl.run_sweep(reduced(**options), whole)
    with cutting.into(**sizes):
        report = fl.run_sweep(reduced(**options), path)
    assert report.blocks == -(-3 // sizes["architectures"]) * -(-25 // sizes["seeds"])
    assert statistics(path).identical(statistics(whole))
    expected = content(path)
    for lost in ("status/c.0.0.0.0", "loss/c.0.0.0.0.0", "count/c.0.0.0"):
        (path / lost).unlink()
    assert fl.run_sweep(reduced(**options), path).computed_blocks == -(-25 // sizes["seeds"])
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
    before = sweeping.chunks(tmp_path / "wild.zarr")
    compact(tmp_path / "wild.zarr")
    assert sweep_status(tmp_path / "wild.zarr")["diverged"] == 5
    assert verify(tmp_path / "wild.zarr") == []
    retried = fl.run_sweep(spec, tmp_path / "wild.zarr", retry_failed=True)
    assert (retried.ok, retried.diverged, retried.computed_points) == (5, 5, 5)
    assert sweeping.chunks(tmp_path / "wild.zarr") == before


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
def test_faults_of_a_reduction_are_named(reduce, message):
    with pytest.raises(fl.InputError, match=message):
        fl.Spec.from_dict(sweeping.spec(output={"observables": ["loss"], "reduce": reduce}))


def test_a_reduced_sweep_is_drawn(tmp_path):
    fl.run_sweep(reduced(quantiles=[0.5]), tmp_path / "r.zarr")
    figure = fl.plot.sweep(fl.open_sweep(tmp_path / "r.zarr"), "loss", "lam", None)
    assert "mean over 25 seeds" in figure.get_suptitle().replace("\n", " ")
    fl.run_sweep(reduced(statistics=["max"]), tmp_path / "m.zarr")
    with pytest.raises(fl.InputError, match="holds no mean over seeds; it has max"):
        fl.plot.sweep(fl.open_sweep(tmp_path / "m.zarr"), "loss", "lam", None)
