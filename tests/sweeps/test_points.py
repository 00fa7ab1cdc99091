"""Tables of points in specs: columns, constants of the axes, and messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps.spec import extension
from fastlin.sweeps.spec.points import INLINE, PointTable, positions

AXES = {"architecture": "4-2-3", "seed": 0, "lam": 0.5}


def spec_of(points, axes=AXES, **more):
    base = {"axes": axes, "task": {"n_samples": 12}, "dynamics": {"times": [0.0, 1.0]}}
    return fl.Spec.read(base | more, points=points)


def without(*names):
    return {name: value for name, value in AXES.items() if name not in names}


def test_axes_complete_a_table():
    spec = spec_of({"lam": [1.0, -1.0], "n_h": [2, 3]}, without("lam"))
    assert [str(shape) for shape in spec.architectures] == ["4-2-3", "4-3-3"]
    assert spec.table.columns["n_o"].tolist() == [3, 3]
    assert spec.lams.tolist() == [-1.0, 1.0]
    assert (spec.seeds.tolist(), spec.init_scales.tolist()) == ([0], [1.0])
    assert spec.point_dims == {"seed": 1, "point": 2}
    assert spec.points == 2


def test_a_single_value_is_that_of_all_points():
    spec = spec_of({"lam": [1.0, -1.0], "seed": 7}, without("lam", "seed"))
    assert spec.table.columns["seed"].tolist() == [7, 7]
    assert spec.point_dims == {"point": 2}


def test_parameters_of_tasks_are_columns():
    spec = spec_of({"target_scale": [0.5, 2.0], "n_samples": [4, 9]}, task={})
    assert spec.task.axes["target_scale"].tolist() == [0.5, 2.0]
    assert spec.task.axes["n_samples"].dtype == np.int64
    assert "n_samples" not in spec.to_dict()["task"]
    assert fl.Spec.from_dict(spec.to_dict()) == spec


def test_a_spec_without_points_is_written_as_before():
    assert "points" not in spec_of(None).to_dict()


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 2**63 - 1)), min_size=1, max_size=30))
def test_a_table_is_written_and_read_back(rows):
    lams, seeds = (list(part) for part in zip(*rows, strict=True))
    spec = spec_of({"lam": lams, "seed": seeds}, without("lam", "seed"))
    again = fl.Spec.from_json(spec.to_json())
    assert (again.hash, again) == (spec.hash, spec)
    assert again.table.sha256 == spec.table.sha256
    copy = PointTable.from_bytes(spec.table.to_bytes())
    assert copy.sha256 == spec.table.sha256
    assert copy.columns["seed"].tolist() == seeds


def test_a_long_table_is_named_by_its_hash():
    lams = np.linspace(-1.0, 1.0, INLINE + 1)
    spec = spec_of({"lam": lams}, without("lam"))
    assert spec.to_dict()["points"] == {
        "sha256": spec.table.sha256,
        "num": INLINE + 1,
        "columns": ["n_i", "n_h", "n_o", "lam"],
    }
    assert spec.hash != spec_of({"lam": lams + 1e-9}, without("lam")).hash
    short = spec_of({"lam": lams[:-1]}, without("lam"))
    assert extension.obstacles(short, spec) == []
    assert extension.obstacles(spec, short) == [
        "points: the table does not begin with the 1,001 points of the store"
    ]


def test_a_table_may_not_lose_an_axis_or_change_another():
    table = {"lam": [1.0, 2.0]}
    old = spec_of(table, without("lam"))
    other = spec_of(table, without("lam") | {"init_scale": 2.0})
    assert extension.obstacles(old, other) == [
        "axes.init_scale: the store has {}, the spec {}".format("[1.0]", "[2.0]")
    ]
    more = spec_of(table, without("lam", "seed") | {"seed": [0, 3]})
    assert extension.obstacles(old, more) == []
    assert extension.obstacles(old, spec_of(None))[-1].startswith("points: the store has")


@pytest.mark.parametrize(
    ("points", "axes", "message"),
    [
        ({"lam": [1, 2], "kappa": [0]}, without("lam"), "points.lam has 2 values, and points.kappa 1"),
        ({"lamda": [1]}, AXES, "[points] has the unknown column 'lamda'; did you mean 'lam'?"),
        ({"lam": [1, np.nan]}, without("lam"), "points.lam[1] is nan; a finite number is needed"),
        ({"lam": [1, "x"]}, without("lam"), "points.lam[1] is 'x'; a number is needed"),
        ({"lam": [[1], [2]]}, without("lam"), "points.lam has 2 dimensions; a list of values is needed"),
        ({"lam": [1, [2, 3]]}, without("lam"), "a list of values is needed"),
        ({"lam": []}, without("lam"), "points.lam has 0 values; allowed are 1 to"),
        ({"lam": 1.0}, without("lam"), "[points] has no list"),
        ({"lam": {"log": [1, 2]}}, without("lam"), "a range needs a design"),
        ({"lam": [1, 2]}, AXES, "axes.lam is given, and lam is a column of [points]; give one of them"),
        ({"seed": [1, 0.5]}, without("seed"), "points.seed[1] is 0.5; a whole number is needed"),
        ({"seed": [1, -5]}, without("seed"), "points.seed[1] is -5; allowed is 0 to"),
        ({"kappa": [0.0, 1.0, 1e-200]}, AXES, "points.kappa[2] is 1e-200"),
        ({"init_scale": [1.0, 0.0]}, AXES, "points.init_scale[1] is 0"),
        ({"n_h": [2, 0]}, AXES, "points.n_h[1] is 0; allowed is 1 to"),
        (
            {"architecture": ["4-2-4", "a"]},
            without("architecture"),
            "points.architecture[1]: architecture is 'a'",
        ),
        (
            {"architecture": ["4-2-4"], "n_h": [2]},
            without("architecture"),
            "[points] has the columns architecture and n_h",
        ),
        (
            {"n_h": [2, 3]},
            without("architecture"),
            "[points] lacks n_i, n_o; give columns, or one architecture",
        ),
        (
            {"n_h": [2, 3]},
            AXES | {"architecture": ["4-2-3", "2-2-2"]},
            "axes.architecture has 2 values beside [points]",
        ),
        ({"n_h": [2, 3]}, AXES | {"lam": [0.0, 1.0]}, "axes.lam has 2 values beside [points]; give one"),
        ({"n_i": [2, 13], "n_h": [1, 2]}, AXES, "[points], row 1: the architecture is 13-2-3"),
        ({"solver": ["exact", "flw"]}, AXES, "points.solver is 'flw'; did you mean 'flow'?"),
        ({"file": "nothing.csv"}, AXES, "points.file: cannot read nothing.csv: No such file"),
        ({"file": "points.txt"}, AXES, "needed is the name of a file that ends in .csv or .parquet"),
        ({"file": "a.csv", "lam": [1.0]}, AXES, "[points] has a file and lam; give one of them"),
        ({}, AXES, "[points] is empty"),
        (3, AXES, "points is 3; needed is a mapping of columns, a DataFrame or a Dataset"),
    ],
)
def test_faults_of_a_table(points, axes, message):
    with pytest.raises(fl.InputError) as caught:
        spec_of(points, axes)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("task", "column"),
    [
        (
            {"kind": "spectrum"},
            {"singular_values": [1.0, 2.0]},
        ),  # a list is one spectrum, not one for each point
        ({"kind": "data", "x": "x.npy", "y": "y.npy"}, {"whiten": [True, False]}),
    ],
)
def test_parameters_that_are_no_axes_are_no_columns(task, column):
    (name,) = column
    with pytest.raises(fl.InputError, match=rf"\[points\] has the unknown column '{name}'"):
        spec_of(column, task=task)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lam,seed\n1.0,2\n3.0\n", "row 1 of points.csv has 1 values for 2 columns"),
        ("lam,seed\n1.0,2\nx,3\n", "points.lam[1] is 'x'; a number is needed"),
        ("lam,seed\n", "points.csv has no rows below a line with the names of columns"),
        ("lam,foo\n1.0,2\n", "[points] has the unknown column 'foo'"),
        ("lam,seed\n1.0,2.5\n", "points.seed[0] is 2.5; a whole number is needed"),
    ],
)
def test_faults_of_a_file(tmp_path, text, message):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(fl.InputError) as caught:
        spec_of({"file": str(tmp_path / "points.csv")}, without("lam", "seed"))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_seeds_that_are_a_column_are_not_reduced():
    with pytest.raises(fl.InputError, match=r"output\.reduce is over axes\.seed, and seed is a column"):
        spec_of({"seed": [1, 2]}, without("seed"), output={"reduce": {}})


def test_raw_starts_have_no_lam():
    with pytest.raises(fl.InputError, match=r"lam is given, and init\.balance is false"):
        spec_of(
            {"lam": [1.0, 2.0]},
            without("lam"),
            init={"balance": False},
            dynamics={"solver": "flow", "times": [0.0]},
        )


ROWS = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0.0, -1.5, np.inf])), min_size=1)


@given(wanted=ROWS, present=ROWS)
def test_rows_are_found_at_their_first_place(wanted, present):
    columns = [[np.array(column) for column in zip(*rows, strict=True)] for rows in (wanted, present)]
    expected = [present.index(row) if row in present else -1 for row in wanted]
    assert positions(*columns).tolist() == expected
