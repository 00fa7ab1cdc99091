"""The comparison with other tools: equal results, and counts at a kill, at growth and at a failed point."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fastlin as fl
from fastlin.bench import measure, report
from fastlin.bench.compare import grid as grids
from fastlin.bench.compare import probe
from fastlin.bench.compare.grid import Grid
from fastlin.bench.compare.measure import Extent, measure_compare, missing
from fastlin.bench.compare.probe import Orders, PlantedError
from fastlin.bench.compare.process import Step
from fastlin.bench.compare.tools import TOOLS

SMALL = Grid(("4-2-4", "3-5-2"), range(5), 3)
MORE = range(5, 10)
ARRAYS = (
    "fastlin",
    "loop of `fl.exact`",
    "loop of NumPy",
    "Dask",
)  # that start no processes, and install no more


@pytest.fixture(autouse=True)
def no_orders():
    yield
    probe.orders.cache_clear()


@pytest.fixture
def ordered(monkeypatch, tmp_path):
    """Return a function that gives orders to this process."""

    def give(**changes):
        orders = Orders(str(tmp_path / "points.log"), **changes)
        for name, value in orders.environment().items():
            monkeypatch.setenv(name, value)
        probe.orders.cache_clear()
        return orders

    return give


def results(grid):
    """Return the results of `fastlin.exact`, network by network."""
    found = grid.unset()
    for (architecture, seed), at in grid.at.items():
        for index, lam in enumerate(grid.lams):
            found[at][index] = np.stack(grids.one(architecture, seed, lam), axis=-1)
    return found


@pytest.mark.parametrize("name", ARRAYS)
def test_tools_compute_the_same_and_grow(name, tmp_path):
    tool, grown = TOOLS[name], SMALL.grown(MORE)
    expected = results(grown)
    tool.run(SMALL, tmp_path)
    assert np.allclose(tool.read(SMALL, tmp_path), expected[:, :5], rtol=0, atol=1e-11)
    tool.grow(SMALL, MORE, tmp_path)
    assert np.allclose(tool.read(grown, tmp_path), expected, rtol=0, atol=1e-11)


def test_one_a_row_and_a_stack_are_the_same():
    expected = results(SMALL)
    for (architecture, seed), at in SMALL.at.items():
        row = np.stack(grids.row(architecture, seed, SMALL.lams), axis=-1)
        assert np.allclose(row, expected[at], rtol=0, atol=1e-12)
    for index, architecture in enumerate(SMALL.architectures):
        stack = grids.stack(architecture, SMALL.seeds, SMALL.lams)
        assert np.allclose(stack, expected[index], rtol=0, atol=1e-12)


def test_points_are_counted_and_one_fails(ordered, tmp_path):
    orders = ordered(failing=("3-5-2", 2, 0.0))
    tool, store = TOOLS["loop of NumPy"], tmp_path / "store"
    store.mkdir()
    with pytest.raises(PlantedError, match=r"the point 3-5-2, seed 2, lam 0\.0 fails"):
        tool.run(SMALL, store)
    done = 5 * 3 + 2 * 3  # all of the first architecture, two seeds of the second
    assert orders.total() == done
    assert np.isfinite(tool.read(SMALL, store)).all(axis=(-2, -1)).sum() == done
    orders = ordered()
    tool.mend(SMALL, store)
    assert orders.total() == SMALL.points


def test_without_orders_nothing_is_counted(monkeypatch):
    monkeypatch.delenv(probe.VARIABLE, raising=False)
    probe.orders.cache_clear()
    probe.check("4-2-4", [0], [0.0])
    probe.computed("4-2-4", [0], [0.0])


@pytest.mark.processes
def test_a_process_is_killed_half_way(tmp_path):
    orders = Orders(str(tmp_path / "points.log"), kill_at=9)
    code = "from fastlin.bench.compare import probe\nwhile True: probe.computed('4-2-4', [0, 1], [0.0])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | orders.environment(), start_new_session=True
    )
    assert done.returncode == -signal.SIGKILL
    assert orders.total() == 10


def test_steps_are_sent_as_json(tmp_path):
    for more in (None, MORE):
        step = Step("Dask", "grow", SMALL, tmp_path, more)
        assert Step.from_json(step.to_json()) == step


def test_the_sweep_of_the_benchmark_is_valid():
    extent = Extent()
    assert extent.grid.points >= 10_000
    for architecture in extent.grid.architectures:
        assert str(fl.Architecture.read(architecture)) == architecture
    assert 0.0 in extent.grid.lams


@pytest.fixture(scope="module")
def figures():
    """Figures of all tools that are installed, on 180 points."""
    grid = Grid(("4-2-4", "4-4-4"), range(10), 9)
    program = measure.Program(sections=("compare",), compared=Extent(grid, more=5, few=5, times=2))
    return measure.measure(program, (), lambda line: None)


@pytest.mark.campaign
@pytest.mark.processes
def test_all_tools_are_measured(figures):
    assert json.loads(json.dumps(figures)) == figures
    compared = figures["compare"]
    installed = [name for name, tool in TOOLS.items() if not {*tool.libraries} & {*missing()}]
    assert list(compared["rows"]) == installed
    assert {*ARRAYS} <= {*installed}
    assert compared["points"] == 180
    assert compared["large"]["points"] == 360
    for row in compared["rows"].values():
        assert row["difference"] < 1e-11
        assert row["points_per_second"] == pytest.approx(180 / row["seconds"])
        assert row["files"] > 0
    text = report.everything(figures)
    for name in installed:
        assert text.count(f"\n| {name} ") == 3


@pytest.mark.campaign
@pytest.mark.processes
def test_a_killed_run_is_continued(figures):
    for name, row in figures["compare"]["rows"].items():
        kill = row["kill"]
        assert 90 <= kill["before"] < 180
        assert kill["right"] <= kill["before"]
        if name == "Dask":
            assert kill["again"] == kill["before"]  # the array does not tell which chunks are complete
            assert kill["right"] + kill["wrong"] == 180
        else:
            assert kill["again"] == kill["before"] - kill["right"]
            assert kill["wrong"] == 0


@pytest.mark.campaign
@pytest.mark.processes
def test_growth_computes_only_what_is_new(figures):
    for row in figures["compare"]["rows"].values():
        assert row["growth"] == {"computed": 90}


@pytest.mark.campaign
@pytest.mark.processes
def test_a_failed_point_stops_loops_and_costs_others_their_batch(figures):
    # Points of the same call that are lost with the failed one, where the others are computed.
    lost = {
        "fastlin": 0,
        "pipefunc": 0,
        "pipefunc, seed by seed": 8,
        "xyzpy": 8,
        "xyzpy, seed by seed": 8,
    }
    named = ("fastlin", "pipefunc", "pipefunc, seed by seed")
    for name, row in figures["compare"]["rows"].items():
        failure = row["failure"]
        assert failure["points"] == 90
        assert bool(failure["code"]) == (name not in named)
        assert failure["named"] == (name in named)
        if name in lost:
            assert failure["lost"] == lost[name]
            assert failure["computed"] == lost[name] + 1
        else:
            assert failure["lost"] > 8


def test_a_library_that_is_not_installed_leaves_its_rows_out(monkeypatch, tmp_path):
    monkeypatch.setattr("fastlin.bench.compare.measure.find_spec", lambda name: name == "fastlin" or None)
    assert {"dask", "h5netcdf", "jax", "numpy", "pipefunc", "xyzpy"} == {*missing()}
    monkeypatch.setattr("fastlin.bench.compare.measure._tool", lambda name, *_: {"library": name})
    monkeypatch.setattr("fastlin.bench.compare.measure._reference", lambda *_: None)
    monkeypatch.setattr("fastlin.bench.compare.measure._speed", lambda *_: {})
    assert list(measure_compare(Extent(), lambda line: None)["rows"]) == ["fastlin", "loop of `fl.exact`"]


def test_a_grid_that_grew_begins_with_the_same_seeds():
    grown = SMALL.grown(MORE)
    assert grown.seeds == range(10)
    assert grown == replace(SMALL, seeds=range(10))
