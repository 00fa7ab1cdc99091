"""The benchmark of two-sided balance and of the flow: rivals compute the same, and steps are counted."""

import json
import time

import numpy as np
import pytest

from fastlin.bench import flow, measure, report, timing
from fastlin.bench.case import OUTPUTS, Case
from fastlin.bench.flow_rivals import diffrax_flow, scipy_flow
from fastlin.bench.rivals import Jax
from fastlin.kernels import Sizes, dispatch, empty_batch
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.values import WIDTH

QUICK = (4, 2, 4)
SHAPES = [
    QUICK,
    *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((8, 4, 8), (2, 6, 5), (5, 3, 2))),
]


def solve(shape, networks):
    case = flow.FlowCase(shape, networks)
    case.run()
    return case


@pytest.mark.parametrize("shape", SHAPES)
def test_scipy_computes_the_same(shape):
    networks = flow.lecun_networks(shape, 4)
    expected = [scipy_flow(networks.part(index), flow.TIME, flow.TOLERANCE) for index in range(4)]
    assert np.allclose(solve(shape, networks).results, expected, rtol=0.0, atol=1e-8)


@pytest.mark.slow
def test_diffrax_computes_the_same():
    pytest.importorskip("diffrax")
    networks = flow.lecun_networks(QUICK, 3)
    with Jax(1) as jax:
        results = diffrax_flow(jax, networks, flow.TIME, flow.TOLERANCE)
    assert np.allclose(results, solve(QUICK, networks).results, rtol=0.0, atol=1e-8)


def test_networks_have_the_variances_of_lecun():
    networks = flow.lecun_networks((16, 4, 8), 2000)
    for layer, variance in (("w1", 1 / 16), ("w2", 1 / 4), ("sigma", 3 / 80)):
        assert getattr(networks, layer).var() == pytest.approx(variance, rel=0.03)


def test_vectors_of_equal_networks_take_no_more_steps_than_each():
    one = flow.lecun_networks(QUICK, 1)
    alone = flow.FlowCase(QUICK, one)
    alike = flow.FlowCase(QUICK, one.part(np.zeros(3 * WIDTH, dtype=int)))
    assert alike.rounds() == 3 * alone.rounds()
    assert (alike.steps == alone.steps[0]).all()
    assert alike.rounds() == 3 * alone.rounds() >= 3 * alone.steps[0]  # of a second run, not of both


def test_lanes_are_refilled():
    """The steps of vectors stay below those of vectors that wait for their slowest network."""
    figures = flow.measure_filling({QUICK: (128,)}, 1, lambda text: None)["4-2-4, 128 networks"]
    assert 1.0 < figures["rounds"] < 0.8 * figures["unfilled"]
    assert figures["mean_steps"] < figures["most_steps"]
    assert figures["unfilled"] < figures["most_steps"] / figures["mean_steps"]


@pytest.mark.slow
def test_the_form_for_kappa_is_that_of_two_sided_balance():
    lams, times, kappa = np.array([-3.0, 0.5, 2.0]), np.array([0.0, 0.7, 3.0]), 1.3
    case, sizes = Case((2, 6, 3), seeds=2, lams=lams), Sizes(2, 6, 3)
    batch = empty_batch(case.set_up(np.arange(2)), lams, times, len(OUTPUTS))
    dispatch.flow(sizes, OUTPUTS, batch, FlowControl(1e-11, 10_000), start=Start.TWO_SIDED, kappa=kappa)
    expected = np.moveaxis(batch.outputs[:, : case.points], 0, -1)
    assert np.allclose(case.closed_form(times, kappa=kappa)(), expected, rtol=0.0, atol=1e-8)
    assert not np.allclose(case.closed_form(times)(), expected, rtol=0.0, atol=1e-2)


@pytest.fixture(scope="module")
def figures():
    program = measure.Program(
        sections=("two-sided", "flow"),
        two_sided_shapes=((1, 2, 1),),
        two_sided_lams=2,
        two_sided_rounds=1,
        flow_shapes=(QUICK,),
        flow_extent=flow.FlowExtent(networks=16, alone=2, stack=3, rounds=1),
        flow_sweeps={QUICK: (3, 16)},
    )
    with pytest.MonkeyPatch.context() as patch:
        # Process time, so that the load of the machine is in no number.
        patch.setattr(timing, "perf_counter", time.process_time)
        return measure.measure(program, ("numpy",), lambda text: None)


@pytest.mark.slow
def test_figures(figures):
    assert json.loads(json.dumps(figures)) == figures
    assert list(figures) == ["machine", "two_sided", "flow", "filling"]
    for row in figures["two_sided"]["1-2-1"].values():
        assert row["ratio"] == pytest.approx(row["two_sided"] / row["one_sided"])
    row = figures["flow"]["rows"]["4-2-4"]
    assert row["vs_scipy"] > 1
    assert row["vs_diffrax"] is None
    assert 0 < row["difference"] < figures["flow"]["agreement"]
    assert row["mean_steps"] == solve(QUICK, flow.lecun_networks(QUICK, 16)).steps.mean()
    assert list(figures["filling"]) == ["4-2-4, 3 networks", "4-2-4, 16 networks"]
    few = figures["filling"]["4-2-4, 3 networks"]
    assert few["unfilled"] == pytest.approx(WIDTH * few["most_steps"] / (3 * few["mean_steps"]))
    table = report.table(figures)
    for name in (
        "1-2-1, a time of a grid",
        "1-2-1, only t = 90",
        "1-2-1, only t = 1e6",
        "4-2-4, 16 networks",
    ):
        assert table.count(f"| {name} ") == 1


def written(**changes):
    """Return the lines of the flow's table for one row of figures."""
    row = {"us": 20.0, "mean_steps": 132.4, "vs_scipy": 500.0, "vs_diffrax": None, "difference": 3e-9}
    section = {"time": 90.0, "tolerance": 1e-9, "agreement": 1e-7, "diffrax_installed": True}
    section["rows"] = {"4-2-4": row | changes.pop("row", {})}
    machine = {"processor": "x", "cores": 2, "system": "y", "versions": {}}
    return report.table({"machine": machine, "flow": section | changes})


def cells(table):
    line = next(line for line in table.splitlines() if line.startswith("| 4-2-4 "))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_table_says_which_rivals_are_missing():
    assert cells(written()) == ["4-2-4", "20.0", "132", "500x", ""]
    assert cells(written(diffrax_installed=False)) == ["4-2-4", "20.0", "132", "500x", "not installed"]
    assert cells(written(row={"vs_diffrax": 30.0}))[-1] == "30.0x"


def test_a_table_says_whether_results_agree():
    assert "rivals agree within 1e-07; their largest difference is 3e-09." in written()
    assert "rivals do not agree within 1e-07; their largest difference is 2e-06." in written(
        row={"difference": 2e-6}
    )
    assert "agree" not in written(row={"difference": None, "vs_scipy": None})


def test_diffrax_is_left_out_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(flow, "find_spec", lambda name: None)
    section = flow.measure_flow((QUICK,), flow.FlowExtent(8, 1, 1, 1), ("jax",), lambda text: None)
    assert not section["diffrax_installed"]
    assert section["rows"]["4-2-4"]["vs_diffrax"] is None
