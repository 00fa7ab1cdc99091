"""Parts of kernels: their declarations are checked, and they give the same on NumPy arrays and on lanes."""

from functools import partial

import numpy as np
import pytest

from fastlin.kernels import Output, Scale, Sizes, dispatch, draw_records, empty_batch
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.compiler.plain import Plain
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.compiler.workspace import Field, Workspace, part
from fastlin.kernels.vector import (
    balance,
    closed_form,
    evolution,
    flow_step,
    gradient_descent,
    march,
    observables,
)
from fastlin.kernels.vector import time_scales as scales
from fastlin.kernels.vector.flow_step import Flow
from tests.networks import CLASSES, problem

OUTPUTS, SCALES = tuple(map(int, Output)), tuple(map(int, Scale))
SHAPES = [*CLASSES.values(), (12, 10, 11)]


class Pair(Workspace):
    x = Field("n")
    y = Field("n")


@part(reads="x", writes="y")
def copy(code, ws):
    ws.y[0] = ws.x[0]


@part(reads="x", writes="y")
def copy_back(code, ws):
    ws.x[0] = 1.0


@part(reads="x", writes="y")
def read_back(code, ws):
    ws.x[0] + ws.y[0]


@part(reads="x")
def touch(code, ws):
    return ws.y


def test_a_part_may_touch_what_it_declares_and_nothing_else():
    sizes = Sizes(1, 1, 1)
    code, ws = Plain(np.float64, sizes), Pair.plain(sizes)
    ws.x[0] = 3.0
    copy(code, ws)
    assert (ws.y[0] == 3.0).all()
    for wrong, message in (
        (copy_back, "writes x, which it only declares to read"),
        (read_back, "reads y, which it only declares to write"),
        (touch, "touches y, which it declares neither to read nor to write"),
    ):
        with pytest.raises(TypeError, match=message):
            wrong(code, ws)


def started(shape, kind=scales.Search):
    """Return records of a vector of seeds, and the code and the workspace of their starts on NumPy arrays."""
    sizes = Sizes(*shape)
    records = draw_records(sizes, np.arange(WIDTH), problem("gaussian", max(9, shape[0]), 1.5, 0.9))
    code, ws = Plain(lambda value: np.full(WIDTH, value), sizes), kind.plain(sizes)
    ws.lam[()] = np.full(WIDTH, -1.5)
    balance.read_task(code, ws, records.T)
    balance.balanced_start(code, ws, records.T)
    observables.observe_start(code, ws)
    return records, code, ws


def by_lanes(kernel, shape, records, outputs, times, *rest):
    batch = empty_batch(records, np.array([-1.5]), times, len(outputs))
    kernel(Sizes(*shape), outputs, batch, *rest)
    return batch.outputs[:, :WIDTH]


def assert_near(plain, lanes):
    assert np.allclose(plain, lanes, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@np.errstate(all="ignore")
def test_closed_form_on_arrays_is_that_on_lanes(shape):
    times = np.array([0.0, 0.4, 7.0, np.inf])
    records, code, ws = started(shape)
    expected = by_lanes(dispatch.closed_form, shape, records, OUTPUTS, times)
    closed_form.begin(code, ws)
    ws.jumping[()] = 1.0
    observer = observables.Observer(OUTPUTS, drifts=False)
    for index, time in enumerate(times):
        ws.time[()] = time
        (evolution.limit if np.isinf(time) else evolution.jump_to_time)(code, ws)
        observer.observe(code, ws)
        assert_near([ws.outputs[output] for output in OUTPUTS], expected[..., index])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@np.errstate(all="ignore")
def test_march_on_arrays_is_that_on_lanes(shape):
    times = np.linspace(0.0, 2.0, 6)
    records, code, ws = started(shape)
    expected = by_lanes(dispatch.closed_form, shape, records, OUTPUTS, times)
    closed_form.begin(code, ws)
    march.prepare_march(code, ws, np.full(WIDTH, times[1]))
    ws.jumping[()], ws.time[()] = 1.0, 0.0
    evolution.jump_to_time(code, ws)
    march.enter(code, ws)
    observer = observables.Observer(OUTPUTS, drifts=False)
    for index in range(1, times.size):
        march.march(code, ws)
        march.renew(code, ws)
        observer.observe(code, ws)
        assert_near([ws.outputs[output] for output in OUTPUTS], expected[..., index])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_descent_on_arrays_is_that_on_lanes(shape):
    rate = np.full(WIDTH, 0.01)
    records, code, ws = started(shape)
    expected = by_lanes(dispatch.gradient_descent, shape, records, OUTPUTS, np.array([40]), 0.01)
    gradient_descent.scale_down(code, ws, rate)
    gradient_descent.walk(code, ws, 40)
    gradient_descent.scale_up(code, ws, rate)
    observables.Observer(OUTPUTS, drifts=True).observe(code, ws)
    assert_near([ws.outputs[output] for output in OUTPUTS], expected[..., 0])


FEW = [(4, 2, 4), *(pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES if shape != (4, 2, 4))]


@pytest.mark.parametrize("shape", FEW, ids=str)
@np.errstate(all="ignore")
def test_gradient_descent_with_decay_on_arrays_is_that_on_lanes(shape):
    rate, decay = np.full(WIDTH, 0.01), (0.3, 0.1)
    records, code, ws = started(shape)
    kernel = partial(dispatch.gradient_descent, decay=decay)
    expected = by_lanes(kernel, shape, records, OUTPUTS, np.array([40]), 0.01)
    gradient_descent.scale_down(code, ws, rate)
    ws.damping[0], ws.damping[1] = 0.01 * decay[0], 0.01 * decay[1]
    gradient_descent.walk_with_decay(code, ws, 40)
    gradient_descent.scale_up(code, ws, rate)
    observables.Observer(OUTPUTS, drifts=True).observe(code, ws)
    assert_near([ws.outputs[output] for output in OUTPUTS], expected[..., 0])


@pytest.mark.parametrize("shape", FEW, ids=str)
@np.errstate(all="ignore")
def test_the_flow_on_arrays_is_that_on_lanes(shape):
    decay, control = (0.3, 0.1), FlowControl(1e-7, 1000)
    records, code, ws = started(shape, Flow)
    kernel = partial(dispatch.flow, decay=decay)
    expected = by_lanes(kernel, shape, records, OUTPUTS, np.array([0.3]), control)
    ws.tolerance[()], ws.max_steps[()] = control
    ws.decay[0], ws.decay[1] = decay
    ws.busy[()], ws.fresh[()], ws.next_time[()] = 1.0, 1.0, 0.3
    flow_step.enter(code, ws, flow_step.rate_of_change(code, ws))
    while (ws.busy[()] > 0.0).any():
        flow_step.attempt(code, ws)
        ws.busy[()] = np.where(ws.event[()] == 0.0, ws.busy[()], 0.0)
    flow_step.leave(code, ws)
    observables.Observer(OUTPUTS, drifts=True).observe(code, ws)
    assert_near([ws.outputs[output] for output in OUTPUTS], expected[..., 0])


@pytest.mark.parametrize("shape", CLASSES.values(), ids=str)  # hundreds of evaluations of the loss
@np.errstate(all="ignore")
def test_time_scales_on_arrays_are_those_on_lanes(shape):
    records, code, ws = started(shape)
    expected = by_lanes(dispatch.time_scales, shape, records, SCALES, np.empty(0), 0.5)
    closed_form.begin(code, ws)
    scales._rotation(code, ws)
    scales._escape(code, ws)
    scales._convergence(code, ws, np.full(WIDTH, 0.5))
    assert np.allclose([ws.scales[scale] for scale in SCALES], expected[..., 0], rtol=1e-9)
