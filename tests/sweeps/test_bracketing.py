"""Borders along an axis: brackets keep both sides, and shrink at least as fast as by bisection."""

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps.read.bracketing import border_between, new_values
from tests import sweeping

NAMES = ["4-2-2", "2-3-4", "3-4-3"]
LEVEL = 0.15


def curve(name, lam, seed=0):
    """Return a hump over lam, whose two flanks lie at other places for each architecture and seed."""
    centre, width = 0.3 * NAMES.index(name) + 0.1 * seed, 2.0 + NAMES.index(name)
    return 0.3 / (1.0 + np.abs((lam - centre) / width) ** 3)


def product(lams, seeds=(0, 1, 2), names=NAMES):
    values = np.array([[[curve(name, lam, seed) for lam in lams] for seed in seeds] for name in names])
    dims = ("architecture", "seed", "lam")
    coordinates = {"architecture": np.array(names, dtype=object), "seed": list(seeds), "lam": lams}
    coordinates["status"] = (dims, np.full(values.shape, "ok", dtype="U9"))
    return xr.Dataset({"kernel_distance": (dims, values)}, coordinates)


def table(frame):
    """Return a dataset of points, one for each row, with values of the curve."""
    values = [
        curve(*row)
        for row in zip(frame["architecture"], frame["lam"], frame.get("seed", [0] * len(frame)), strict=True)
    ]
    coordinates = {name: ("point", frame[name].to_numpy()) for name in frame.columns}
    coordinates |= {
        "status": ("point", np.full(len(frame), "ok", dtype="U9")),
        "point": np.arange(len(frame)),
    }
    return xr.Dataset({"kernel_distance": ("point", values)}, coordinates)


def seeds_of(dataset):
    """Return the rows of the product as a table with a column of seeds."""
    return dataset.kernel_distance.to_dataframe("value").reset_index()[["architecture", "lam", "seed"]]


LAMS = np.linspace(-9.0, 9.0, 10)


def test_borders_lie_between_neighbours_on_both_flanks():
    found = fl.borders(product(LAMS))
    assert found["architecture"].tolist() == ["4-2-2"] * 2 + ["2-3-4"] * 2 + ["3-4-3"] * 2
    assert list(found.columns) == ["architecture", "low", "high", "value_low", "value_high", "estimate"]
    assert (found["high"] - found["low"]).to_numpy() == pytest.approx(2.0)
    assert ((found["value_low"] < LEVEL) != (found["value_high"] < LEVEL)).all()
    assert found["estimate"].between(found["low"], found["high"]).all()


@pytest.mark.parametrize("mean", [True, False])
def test_rounds_narrow_all_borders_of_a_table_with_seeds(mean):
    """A column of seeds gives new rows for all seeds of a line, or lines of their own."""
    rows = seeds_of(product(LAMS))
    rounds = 0
    while not (new := fl.refine(table(rows), mean=mean)).empty:
        rows, rounds = pd.concat([rows, new], ignore_index=True), rounds + 1
    assert rounds <= 7
    assert not rows.duplicated().any()
    found = fl.borders(table(rows), mean=mean)
    assert len(found) == (6 if mean else 18)
    assert (found["high"] - found["low"] <= 1e-3).all()
    for row in found.to_dict("records"):
        seeds = [row["seed"]] if not mean else [0, 1, 2]
        at = [
            np.mean([curve(row["architecture"], row[end], seed) for seed in seeds]) for end in ("low", "high")
        ]
        assert (at[0] < LEVEL) != (at[1] < LEVEL)
        assert row["estimate"] == pytest.approx((row["low"] + row["high"]) / 2, abs=1e-3)


def test_a_product_is_the_first_round_of_a_table():
    first = product(LAMS)
    rows = fl.refine(first)
    assert "seed" not in rows  # the seeds stay an axis beside the points
    assert rows.columns.tolist() == ["architecture", "lam"]
    while not (new := fl.refine([first, means(rows)])).empty:
        rows = pd.concat([rows, new], ignore_index=True)
    found = fl.borders([first, means(rows)])
    assert len(found) == 6
    assert (found["high"] - found["low"] <= 1e-3).all()


def means(rows):
    """Return the table of some rows with seeds as an axis beside them."""
    parts = [table(rows.assign(seed=seed)).drop_vars("seed").assign_coords(seed=seed) for seed in (0, 1, 2)]
    return xr.concat(parts, "seed")


def test_a_met_tolerance_gives_no_rows_and_no_border_neither():
    assert fl.refine(product(LAMS), tolerance=2.0).empty
    assert fl.refine(product(LAMS), at=0.9).empty
    assert fl.borders(product(LAMS), at=0.9).empty
    assert fl.borders(product(LAMS), at=0.9).columns[0] == "architecture"


def test_points_that_are_not_ok_are_neither_used_nor_proposed_again():
    """A bracket reaches over bad points. One whose proposals are all there is left as it is."""
    lams = [-6.0, -3.0, -1.0, 0.0]
    dataset = product(lams, names=NAMES[:1], seeds=(0,))
    dataset["status"][0, 0, 1] = "failed"
    (border,) = fl.borders(dataset).to_dict("records")
    assert (border["low"], border["high"]) == (-6.0, -1.0)
    rows = seeds_of(dataset)[["architecture", "lam"]]
    for _ in range(3):
        data = table(rows)
        data["status"][:] = np.where(np.isin(rows["lam"], [-6.0, -1.0, 0.0]), "ok", "failed")
        new = fl.refine(data)
        if new.empty:
            break
        assert not np.isin(new["lam"], rows["lam"]).any()
        rows = pd.concat([rows, new], ignore_index=True)
    assert new.empty
    assert not fl.borders(data).empty


@given(
    low=st.floats(-10, 10),
    width=st.floats(1e-3, 5.0),
    values=st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4),
    tolerance=st.floats(1e-6, 0.1),
)
def test_new_values_lie_inside_and_leave_no_gap_above_half_of_a_bracket(low, width, values, tolerance):
    x, y = low + width * np.array([-1.0, 0.0, 1.0, 2.0]), np.array(values)
    assume((y[1] < 0.5) != (y[2] < 0.5))
    border = border_between(x, y, 1, 0.5)
    assert border.low <= border.estimate <= border.high
    new = new_values(border, tolerance, np.array([]))
    if border.high - border.low <= tolerance:
        assert new == []
        return
    assert 1 <= len(new) <= 3
    assert all(border.low < value < border.high for value in new)
    assert np.diff([border.low, *new, border.high]).max() <= width / 2 * (1 + 1e-9)


@given(
    root=st.floats(0.01, 0.99),
    steepness=st.floats(0.5, 60.0),
    power=st.sampled_from([1, 3]),
    falls=st.booleans(),
)
def test_no_border_takes_more_rounds_than_bisection(root, steepness, power, falls):
    def value(x):
        return (-1) ** falls * math.atan(steepness * (x - root) ** power)

    x, rounds, tolerance = np.array([0.0, 1.0]), 0, 1e-4
    y = np.array([value(each) for each in x])
    while True:
        (first,) = np.flatnonzero((y[1:] >= 0.0) != (y[:-1] >= 0.0))
        near = slice(max(0, first - 1), first + 3)
        new = new_values(border_between(x[near], y[near], min(first, 1), 0.0), tolerance, x)
        if not new:
            break
        x = np.sort([*x, *new])
        y = np.array([value(each) for each in x])
        rounds += 1
    assert x[first] <= root <= x[first + 1]
    assert x[first + 1] - x[first] <= tolerance
    assert rounds <= math.ceil(math.log2(1 / tolerance))
    if power == 1 and steepness < 5:  # smooth at the scale of the first bracket
        assert rounds <= 6


# ---- input


def test_one_stage_and_task_of_a_sequence_are_selected(tmp_path):
    stages = [
        {"kind": "random_regression", "n_samples": 8, "duration": 9.0},
        {"kind": "reversed", "duration": 9.0},
    ]
    content = sweeping.spec(
        task={"sequence": stages},
        dynamics={"times": [9.0]},
        output={"observables": ["loss", "kernel_distance"]},
    )
    fl.run_sweep(content, tmp_path / "s")
    dataset = fl.open_sweep(tmp_path / "s")
    for name, inner in {"kernel_distance": "stage", "loss": "stage, task"}.items():
        with pytest.raises(fl.InputError, match=rf"{name} has several numbers for each point \({inner}\)"):
            fl.borders(dataset, name)
    found = fl.borders(dataset.isel(stage=0))
    assert len(found) >= 1
    assert "stage" not in found


@pytest.fixture
def swept_dataset(swept):
    return fl.open_sweep(swept)


def test_a_stored_sweep_needs_its_time(swept_dataset):
    with pytest.raises(fl.InputError, match=r"time has 4 values in the dataset; say which: time=\.\.\."):
        fl.refine(swept_dataset)
    late = fl.refine(swept_dataset, time=np.inf)
    assert late.columns.tolist() == ["architecture", "init_scale", "lam"]
    assert late.equals(fl.refine(swept_dataset.fastlin.select(time=np.inf)))
    assert late.equals(fl.refine(swept_dataset.fastlin.select(time=[np.inf])))


def test_a_selected_value_stays_a_column(swept_dataset):
    """A new point needs it where the table has it as a column."""
    one = swept_dataset.fastlin.select(architecture="4-2-2", time=np.inf)
    assert set(fl.refine(one)["architecture"]) == {"4-2-2"}


def test_the_mean_of_a_reduced_store_is_refined(tmp_path, swept_dataset):
    output = {"observables": ["kernel_distance"], "reduce": {"statistics": ["mean"]}}
    fl.run_sweep(sweeping.spec(output=output), tmp_path / "s.zarr")
    reduced = fl.open_sweep(tmp_path / "s.zarr")
    expected = fl.borders(swept_dataset, time=np.inf)
    found = fl.borders(reduced, time=np.inf)
    assert np.allclose(found["estimate"], expected["estimate"], rtol=1e-12)
    with pytest.raises(fl.InputError, match="mean is False, but the store holds statistics over the seeds"):
        fl.borders(reduced, time=np.inf, mean=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observable": "kernel"}, "observable is 'kernel'; allowed: loss, kernel_distance"),
        (
            {"observable": "weight_norms"},
            r"weight_norms has several numbers for each point \(layer\); select one",
        ),
        ({"axis": "seed"}, "axis is 'seed'; allowed: init_scale, lam"),
        ({"axis": "architecture"}, "axis is 'architecture'; allowed: init_scale, lam"),
        ({"tolerance": 0.0}, "tolerance is 0; it must be above 0"),
        ({"at": "high"}, "at is 'high'"),
        ({"time": 3.0}, "time = 3.0 is not on the axis"),
        ({"mean": 1}, "mean is 1"),
    ],
)
def test_odd_arguments_are_refused(swept_dataset, arguments, message):
    with pytest.raises(fl.InputError, match=message):
        fl.refine(swept_dataset, **({"time": np.inf} | arguments))


def test_odd_datasets_are_refused(swept_dataset):
    with pytest.raises(fl.InputError, match="dataset is None; needed is one of class Dataset"):
        fl.refine(None)
    with pytest.raises(fl.InputError, match=r"dataset is \[\]; needed is one of class Dataset"):
        fl.refine([])
    with pytest.raises(
        fl.InputError, match="init_scale has several values in one of the datasets, and another"
    ):
        fl.refine([swept_dataset.fastlin.select(time=np.inf), product(LAMS)])
