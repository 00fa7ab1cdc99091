"""Sweeps over a table of points: bits, growth, reduction, and use of the store."""

import itertools
import random

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps.read.picture import check_spec
from fastlin.sweeps.report import write
from fastlin.sweeps.run import block
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.status import in_words, sweep_status
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import verify
from tests import cutting, sweeping

AXES = {
    "architecture": ["4-2-3", "2-7-3", "3-3-2"],
    "init_scale": [0.5, 1.0],
    "kappa": [0.0, 0.7, 1.5],
    "rate_ratio": [1.0, 4.0],
    "seed": [0, 1, 5],
    "lam": [-3.0, 0.0, 2.5],
}
ALL = list(itertools.product(*AXES.values()))
OUTPUT = {"observables": ["loss", "weight_norms", "kernel_distance", "convergence_time", "fit_lam"]}
EXACT = {"times": [0.0, 0.5, np.inf]}


def sections(axes=None, dynamics=EXACT, **more):
    return {"axes": axes or {}, "task": {"n_samples": 12}, "dynamics": dynamics, "output": OUTPUT} | more


def columns(rows, names=tuple(AXES)):
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """The product of all axes."""
    path = tmp_path_factory.mktemp("product") / "s.zarr"
    fl.run_sweep(sections(AXES), path)
    return fl.open_sweep(path).load()


def check_rows(dataset, product, rows, names=tuple(AXES)):
    """Check that row i of a table has the bits of the product, and the coordinates of the row."""
    for number, row in enumerate(rows):
        values = dict(zip(names, row, strict=True))
        point, expected = dataset.sel(point=number), product.sel(values)
        for name in product.data_vars:
            assert np.array_equal(point[name], expected[name], equal_nan=True), (values, name)
        assert np.array_equal(point.status, expected.status)
        for name, value in values.items():
            assert name not in point.coords or point[name].ndim or point[name].item() == value


@given(st.data())
@settings(max_examples=8)
def test_a_table_has_the_bits_of_the_product(tmp_path_factory, product, data):
    """Rows in any order, some of them twice, cut anywhere, and grown from fewer rows."""
    rows = data.draw(st.lists(st.sampled_from(ALL), min_size=1, max_size=60))
    first = data.draw(st.integers(1, len(rows)))
    path = tmp_path_factory.mktemp("table") / "s.zarr"
    with cutting.into(points=data.draw(st.integers(1, 40))):
        fl.run_sweep(sections(), path, points=columns(rows[:first]))
        check_rows(fl.open_sweep(path).load(), product, rows[:first])
        report = fl.run_sweep(sections(), path, points=columns(rows))
    assert report.points == len(rows)
    dataset = fl.open_sweep(path).load()
    assert dataset.loss.dims == ("point", "time")
    check_rows(dataset, product, rows)
    assert verify(path) == []


def test_seeds_beside_a_table(tmp_path, product):
    names = [name for name in AXES if name != "seed"]
    rows = list(itertools.product(*(AXES[name] for name in names)))
    random.Random(3).shuffle(rows)
    axes = {"seed": AXES["seed"]}
    with cutting.into(points=7, seeds=2):
        fl.run_sweep(sections({"seed": [0, 5]}), tmp_path / "s.zarr", points=columns(rows, names))
        fl.run_sweep(sections(axes), tmp_path / "s.zarr", points=columns(rows, names))
    dataset = fl.open_sweep(tmp_path / "s.zarr").load()
    assert dict(dataset.loss.sizes) == {"seed": 3, "point": len(rows), "time": 3}
    assert dataset.seed.values.tolist() == AXES["seed"]
    check_rows(dataset, product, rows, names)


DYNAMICS = {
    "flow": {"solver": "flow", "times": [0.0, 0.5, 2.0]},
    "descent": {"solver": "gradient_descent", "learning_rate": 0.01, "times": [0.0, 0.5, 2.0]},
    "decay": {"solver": "flow", "decay": 0.1, "times": [0.0, 0.5]},
}


@pytest.mark.parametrize("kind", [*DYNAMICS, "raw", "one by one"])
def test_other_solvers_and_starts(tmp_path, kind):
    axes = {
        "architecture": ["4-2-3", "2-5-3"],
        "init_scale": [0.5, 1.0],
        "rate_ratio": [1.0, 4.0],
        "seed": [0, 5],
        "lam": [-1.0, 2.0],
        "target_scale": [0.5, 1.0],
    }
    more = {
        "dynamics": DYNAMICS.get(kind, DYNAMICS["flow"]),
        "output": {"observables": ["loss", "weight_norms"]},
    }
    if kind == "raw":
        del axes["lam"]
        more["init"] = {"balance": False}
    if kind == "one by one":
        more["dynamics"] = DYNAMICS["descent"] | {"label_noise": 0.1}
    rows = list(itertools.product(*axes.values()))
    random.Random(4).shuffle(rows)
    task = {"n_samples": 12}
    of_axes = {name: values for name, values in axes.items() if name != "target_scale"}
    fl.run_sweep(
        sections(of_axes, **more) | {"task": task | {"target_scale": axes["target_scale"]}},
        tmp_path / "p.zarr",
    )
    product = fl.open_sweep(tmp_path / "p.zarr").load()
    with cutting.into(points=13):
        fl.run_sweep(sections(**more) | {"task": task}, tmp_path / "t.zarr", points=columns(rows, axes))
    check_rows(fl.open_sweep(tmp_path / "t.zarr").load(), product, rows, axes)


def test_a_row_without_network_is_absent(tmp_path):
    points = {"architecture": ["4-2-3", "2-7-3"], "kappa": [0.5, 0.5], "lam": [0.0, 0.0], "seed": [0, 0]}
    report = fl.run_sweep(sections(output={"observables": ["loss"]}), tmp_path / "s.zarr", points=points)
    assert (report.ok, report.absent) == (1, 1)
    status = fl.open_sweep(tmp_path / "s.zarr").status
    assert status.sel(point=0) == "absent"
    assert status.sel(point=1) == "ok"


def test_statistics_over_seeds_of_each_row(tmp_path):
    """They are those of a product, also after seeds and rows were added."""
    reduce = {"observables": ["loss", "convergence_time"], "reduce": {"quantiles": [0.5]}}
    names = ["architecture", "init_scale", "lam"]
    rows = list(itertools.product(*(AXES[name] for name in names)))
    seeds = {"seed": {"start": 0, "num": 9}}
    whole = {name: AXES[name] for name in names} | seeds
    fl.run_sweep(sections(whole, output=reduce), tmp_path / "p.zarr")
    product = fl.open_sweep(tmp_path / "p.zarr").load()
    random.Random(5).shuffle(rows)
    some = sections({"seed": {"start": 0, "num": 4}}, output=reduce)
    with cutting.into(points=5, seeds=2):
        fl.run_sweep(some, tmp_path / "t.zarr", points=columns(rows[:7], names))
        fl.run_sweep(sections(seeds, output=reduce), tmp_path / "t.zarr", points=columns(rows, names))
    dataset = fl.open_sweep(tmp_path / "t.zarr").load()
    assert dataset["count"].dims == ("point",)
    for number, row in enumerate(rows):
        values = dict(zip(names, row, strict=True))
        for name in ("loss", "convergence_time", "count"):
            assert np.array_equal(dataset[name].sel(point=number), product[name].sel(values)), (values, name)
    assert verify(tmp_path / "t.zarr") == []


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of a Sobol design, and its table as a DataFrame."""
    path = tmp_path_factory.mktemp("design") / "s.zarr"
    design = {
        "sample": "sobol",
        "num": 64,
        "n_i": [2, 4],
        "n_h": [1, 4],
        "n_o": 3,
        "lam": [-9.0, 9.0],
        "init_scale": {"log": [0.1, 2.0]},
        "seed": [0, 9],
    }
    with cutting.into(points=20):
        fl.run_sweep(sections(points=design), path)
    return path, design


def test_a_design_grows_by_its_number(store, tmp_path):
    path, design = store
    copy = tmp_path / "s.zarr"
    with cutting.into(points=20):
        fl.run_sweep(sections(points=design | {"num": 24}), copy)
        report = fl.run_sweep(sections(points=design), copy)
    assert report.computed_points == 64 - 24
    grown, whole = (fl.open_sweep(each).load().sortby("point") for each in (copy, path))
    assert grown.drop_vars("status").equals(whole.drop_vars("status"))


def test_a_point_is_rebuilt_and_selected(store):
    dataset = fl.open_sweep(store[0]).load()
    for number in (0, 17, 63):
        task, net = fl.rebuild(dataset, point=number)
        point = dataset.fastlin.select(point=number)
        assert str(net.architecture) == point.architecture.item()
        assert net.lam == point.lam.item()
        assert np.allclose(fl.exact(task, net, point.time).loss, point.loss, rtol=1e-9, atol=1e-12)
        again, same = fl.rebuild(point)
        assert np.array_equal(same.w1, net.w1)
        assert np.array_equal(again.sigma_yx, task.sigma_yx)
    part = dataset.fastlin.select(lam=slice(0.0, 9.0), n_i=4)
    inside = (dataset.lam >= 0.0) & (dataset.n_i == 4)
    assert part.point.values.tolist() == dataset.point.values[inside.values].tolist()
    for make, message in (
        (lambda: fl.rebuild(dataset), "point has 64 values in the dataset; say which"),
        (lambda: fl.rebuild(dataset, point=64), "point = 64 is not on the axis"),
        (lambda: dataset.fastlin.select(lam=0.123), "lam = 0.123 is not on the axis"),
    ):
        with pytest.raises(fl.InputError, match=message):
            make()


def test_a_product_has_no_points(product):
    with pytest.raises(fl.InputError, match="the sweep is a product of axes"):
        fl.rebuild(product, point=0)


def test_forms_of_a_table(tmp_path):
    """A mapping, a DataFrame, a Dataset and both kinds of file give one spec."""
    points = {"architecture": ["4-2-3", "2-7-3", "3-3-2"], "lam": [0.1, -2.0, 1e-300], "seed": [3, 1, 2]}
    frame = pd.DataFrame(points)
    frame.to_csv(tmp_path / "points.csv", index=False)
    dataset = xr.Dataset({name: ("row", values) for name, values in points.items()}).assign(other=1.0)
    (tmp_path / "spec.toml").write_text(
        '[task]\nn_samples = 12\n[dynamics]\ntimes = [0.0, 0.5, inf]\n[points]\nfile = "points.csv"\n'
        f"[output]\nobservables = {OUTPUT['observables']}\n"
    )
    of_file = fl.Spec.load(tmp_path / "spec.toml")
    specs = [fl.Spec.read(sections(), points=table) for table in (points, frame, dataset)]
    assert len({spec.hash for spec in (of_file, *specs)}) == 1
    assert fl.Spec.from_dict(of_file.to_dict()) == of_file
    (tmp_path / "again.toml").write_text(of_file.to_toml())
    assert fl.Spec.load(tmp_path / "again.toml") == of_file


def test_parquet(tmp_path):
    frame = pd.DataFrame({"lam": [0.1, -2.0], "seed": [3, 1]})
    frame.to_parquet(tmp_path / "points.parquet")
    base = sections({"architecture": "4-2-3"})
    of_file = fl.Spec.from_dict(base | {"points": {"file": "points.parquet"}}, tmp_path)
    assert of_file == fl.Spec.read(base, points=frame)


LONG = 1200


def long_table():
    chance = np.random.default_rng(8)
    return {
        "lam": chance.uniform(-3.0, 3.0, LONG),
        "n_h": chance.integers(1, 4, LONG),
        "seed": chance.integers(0, 5, LONG),
    }


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A store of a table that its spec names by its hash."""
    path = tmp_path_factory.mktemp("long") / "s.zarr"
    base = sections({"architecture": "4-2-3"}, output={"observables": ["loss"]})
    with cutting.by_the_rule():
        fl.run_sweep(base, path, points=long_table())
    return path, base


def test_a_long_table_lies_in_the_store(long, tmp_path):
    path, base = long
    dataset = fl.open_sweep(path)
    assert len(dataset.attrs["spec"]) < 2000
    table = Store.open(locate(path)).layout.spec.table
    for name, values in long_table().items():
        assert np.array_equal(table.columns[name], values)
    task, net = fl.rebuild(dataset, point=1100)
    assert np.allclose(fl.exact(task, net, dataset.time).loss, dataset.loss.sel(point=1100), rtol=1e-9)
    with pytest.raises(fl.InputError, match="names a table of 1,200 rows by its hash alone"):
        fl.run_sweep(dataset.attrs["spec"], tmp_path / "other.zarr")
    report = fl.run_sweep(dataset.attrs["spec"], path, points=long_table() | {"n_i": 4, "n_o": 3})
    assert (report.ok, report.computed_blocks) == (LONG, 0)
    with cutting.by_the_rule():  # the dataset of the store has the rows, in another order
        fl.run_sweep(dataset.attrs["spec"], tmp_path / "again.zarr", points=dataset)
    assert fl.open_sweep(tmp_path / "again.zarr").identical(dataset)
    changed = long_table()
    changed["lam"][5] += 1.0
    with pytest.raises(fl.InputError, match="the table does not begin with the 1,200 points of the store"):
        fl.run_sweep(base, path, points=changed)


def test_a_store_stands_for_its_spec_on_the_command_line(long, tmp_path, command_line):
    path, _ = long
    code, out, err = command_line("plan", str(path), "--store", str(path))
    assert (code, err) == (0, "")
    assert f"to compute: 0 points in 0 blocks of {path}" in out
    with cutting.by_the_rule():
        assert command_line("run", str(path), "--store", str(tmp_path / "again.zarr"), "-q")[0] == 0
    assert fl.open_sweep(tmp_path / "again.zarr").identical(fl.open_sweep(path))


def test_the_report_of_a_long_table_names_a_command_that_runs(long, tmp_path):
    page = write(long[0], tmp_path / "page.html").read_text()
    assert f"fastlin run {long[0]} --store {long[0]}" in page
    assert "without the 1,200 rows of the table, which are in the store" in page


def test_a_column_of_solvers_is_rebuilt(tmp_path):
    points = {"lam": [1.0, 2.0], "architecture": ["3-3-2"] * 2, "solver": ["exact", "gradient_descent"]}
    dynamics = {"times": [0.0, 1.0], "learning_rate": 0.01}
    fl.run_sweep(
        {"task": {"n_samples": 8}, "axes": {"seed": 0}, "dynamics": dynamics}, tmp_path / "s", points=points
    )
    task, net = fl.rebuild(fl.open_sweep(tmp_path / "s"), point=1, seed=0)
    assert (task.n_samples, net.lam) == (8, 2.0)


def test_few_files(long):
    assert sum(file.is_file() for file in long[0].rglob("*")) < 30


def test_a_plan_of_a_table(long):
    base = long[1]
    with cutting.by_the_rule():
        projection = fl.plan(fl.Spec.read(base, points=long_table()))
    assert projection.points == LONG
    assert "a table; 1200 point" in str(projection)
    assert sum(file.stat().st_size for file in long[0].rglob("*") if file.is_file()) == pytest.approx(
        projection.bytes, rel=0.02
    )


def test_pictures_say_that_points_have_no_axes(store, tmp_path, command_line):
    path = str(store[0])
    code, _, err = command_line("plot", path, "--out", str(tmp_path / "p.png"))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "the points of the sweep are rows of a table" in err
    code, _, _ = command_line("report", path, "--out", str(tmp_path / "p.html"))
    page = (tmp_path / "p.html").read_text()
    assert code == 0
    assert "the points of this sweep are rows of a table" in page
    assert "64 configurations" in page
    with pytest.raises(fl.InputError, match="--plot draws over axes"):
        check_spec(Store.open(locate(path)).layout.spec)


def test_a_failed_point_is_named_by_its_row(tmp_path, monkeypatch):
    """Seed 1 fails. All other points are computed."""
    compute = block.compute

    def failing(group):
        if (group.point_values.seeds == 1).any():
            raise ValueError("planted")
        return compute(group)

    monkeypatch.setattr(block, "compute", failing)
    rows = {"lam": [0.0, 1.0, 2.0, 3.0], "seed": [0, 1, 0, 1], "architecture": ["4-2-3"] * 4}
    with cutting.into(points=4):
        report = fl.run_sweep(sections(), tmp_path / "s.zarr", points=rows)
    assert (report.ok, report.failed) == (2, 2)
    bad = sweep_status(tmp_path / "s.zarr")["bad"]
    assert [(point["point"], point["lam"], point["seed"]) for point in bad] == [(1, 1.0, 1), (3, 3.0, 1)]
    assert "fl.rebuild(ds, point=1, seed=1)" in in_words(sweep_status(tmp_path / "s.zarr"))
    monkeypatch.undo()
    with cutting.into(points=4):
        report = fl.run_sweep(sections(), tmp_path / "s.zarr", points=rows, retry_failed=True)
    assert (report.ok, report.computed_points) == (4, 2)


def test_slices_fill_one_store(store, tmp_path):
    path, design = store
    with cutting.into(points=20):
        for part in ("2/2", "1/2"):
            fl.run_sweep(sections(points=design), tmp_path / "s.zarr", slice=part)
    assert sweeping.content(tmp_path / "s.zarr") == sweeping.content(path)


@pytest.mark.processes
def test_worker_processes_write_the_same_bytes(store, tmp_path):
    path, design = store
    with cutting.into(points=20):
        fl.run_sweep(sections(points=design), tmp_path / "s.zarr", workers=2)
    assert sweeping.content(tmp_path / "s.zarr") == sweeping.content(path)
