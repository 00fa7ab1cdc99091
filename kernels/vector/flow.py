"""The flow of many networks from any start: a vector is eight points (seed, lam), each with its own step.

A network that is done makes room for the next point at once, so that a vector takes the mean number of steps
and not the largest. Numba code keeps account of the points, and traced code computes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.batch import Batch, FlowControl
from fastlin.kernels.codes import Start, Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array, Call, Codes, Integers, jit
from fastlin.kernels.compiler.memory import Numbers, Spread
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH, Lane
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.vector.balance import write_start
from fastlin.kernels.vector.flow_step import Flow, attempt, enter, leave
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.observables import Observer, observe_start

_REACHED = int(Status.OK)  # event of a point that has reached an output; Numba does not compare arrays with enums


class Lanes(NamedTuple):
    """The points that the lanes of a vector work on. Doubles are arrays of its workspace, (WIDTH,) each."""

    point: Integers  # -1 for a lane without a point
    record: Integers  # where the record of the point begins
    index: Integers  # of the next time
    event: Codes  # 0, or the `Status` with which the point waits for its observation or its end
    events: NDArray[np.uint64]  # (1,) the same bytes as one number
    lam: Array
    time: Array
    target: Array
    tried: Array
    accepted: Array
    busy: Array
    fresh: Array
    values: Array  # (outputs, WIDTH) the outputs at the time of the lanes
    rounds: Integers  # (1,) steps of the vector


@traced()
def _begin(
    code: VectorCode, start: int, work: Numbers, records: Numbers, offsets: Numbers, kappa: Lane
) -> None:
    """Start the fresh lanes. Lanes that go on compute their start once more, which gives the same bits."""
    ws = Flow.open(code, work)
    write_start(code, ws, start, Spread(records, [offsets[lane] for lane in range(WIDTH)]), kappa)
    ws.call(code, observe_start)
    enter(code, ws)


@traced()
def _attempt(code: VectorCode, work: Numbers, event: Numbers) -> None:
    ws = Flow.open(code, work)
    with code.flushing():  # weights in directions that the task does not have decay to 0
        attempt(code, ws)
    code.store_codes(event, 0, ws.event[()])


@traced()
def _observe(code: VectorCode, outputs: tuple[int, ...], work: Numbers) -> None:
    ws = Flow.open(code, work)
    ws.call(code, leave)
    Observer(outputs, drifts=True).observe(code, ws)


@callee
def _take_point(batch: Batch, lanes: Lanes, lane: int, point: int) -> None:
    """Give a lane a point, or none past the last point."""
    seeds, length = batch.records.shape
    lanes.index[lane], lanes.tried[lane], lanes.accepted[lane] = 0, 0.0, 0.0
    lanes.time[lane] = 0.0
    if point < seeds * batch.lam.size:
        lanes.point[lane], lanes.busy[lane], lanes.fresh[lane] = point, 1.0, 1.0
        lanes.record[lane] = point // batch.lam.size * length
        lanes.lam[lane] = batch.lam[point % batch.lam.size]
        lanes.target[lane] = batch.times[0]
        lanes.event[lane] = Status.OK if batch.times[0] <= 0.0 else 0
    else:
        lanes.point[lane], lanes.busy[lane], lanes.target[lane] = -1, 0.0, 0.0
        lanes.event[lane] = 0


@callee
def _record(batch: Batch, lanes: Lanes, lane: int, codes: Integers) -> bool:
    """Write the outputs of a lane at its time. Return whether the point is done."""
    point = lanes.point[lane]
    for column, output in enumerate(codes):
        value = lanes.values[output, lane]
        batch.outputs[column, point, lanes.index[lane]] = value
        if not abs(value) < np.inf:
            batch.status[point] = Status.FAILED
    lanes.index[lane] += 1
    if lanes.index[lane] == batch.times.size:
        return True
    lanes.target[lane] = batch.times[lanes.index[lane]]
    lanes.event[lane] = Status.OK if lanes.target[lane] <= lanes.time[lane] else 0
    return False


@callee
def _finish(batch: Batch, lanes: Lanes, lane: int, steps: Integers) -> None:
    """Write the number of steps of a point, and NaN at the times that it did not reach."""
    point = lanes.point[lane]
    steps[point] = int(lanes.accepted[lane])
    if lanes.event[lane] != Status.OK:
        batch.status[point] = lanes.event[lane]
        batch.outputs[:, point, lanes.index[lane] :] = np.nan


@callee
def _settle(batch: Batch, lanes: Lanes, codes: Integers, steps: Integers, taken: int) -> int:
    """Record and refill the lanes that have an event. Return how many points are taken."""
    lanes.fresh[:] = 0.0
    for lane in range(WIDTH):
        event = lanes.event[lane]
        if event and (event != Status.OK or _record(batch, lanes, lane, codes)):
            _finish(batch, lanes, lane, steps)
            _take_point(batch, lanes, lane, taken)
            taken += 1
    return taken


@jit
def _flow(
    sizes: Form,
    start: CompileTime,
    outputs: CompileTime,
    work: Array,
    batch: Batch,
    kappa: float,
    lanes: Lanes,
    codes: Integers,
    steps: Integers,
) -> None:
    taken = WIDTH
    batch.status[:] = Status.OK
    for lane in range(WIDTH):
        _take_point(batch, lanes, lane, lane)
    while lanes.busy.any():
        if lanes.fresh.any():
            _begin(sizes, start, work, batch.records, lanes.record, kappa)
        while lanes.events[0] == 0:
            _attempt(sizes, work, lanes.event)
            lanes.rounds[0] += 1
        if (lanes.event == _REACHED).any():
            _observe(sizes, outputs, work)
        taken = _settle(batch, lanes, codes, steps, taken)


def prepare(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    control: FlowControl,
    start: Start,
    kappa: float,
    decay: tuple[float, float],
    specialise: bool,
) -> Call:
    """Return the call that integrates all points (see `dispatch.flow`). The sizes are those of a start."""
    work = Flow.allocate(sizes)
    views = Flow.views(sizes, work)
    views["tolerance"][:], views["max_steps"][:] = control
    views["decay"][:] = np.array(decay)[:, None]
    event = np.zeros(WIDTH, dtype=np.uint8)
    lanes = Lanes(
        point=np.empty(WIDTH, dtype=np.int64),
        record=np.zeros(WIDTH, dtype=np.int64),
        index=np.empty(WIDTH, dtype=np.int64),
        event=event,
        events=event.view(np.uint64),
        **{name: views[name] for name in ("lam", "time", "target", "tried", "accepted", "busy", "fresh")},
        values=views["outputs"],
        rounds=np.zeros(1, dtype=np.int64),
    )
    steps = np.zeros(len(batch.records) * batch.lam.size, dtype=np.int64)
    compiled_for = form(sizes, Flow, specialise=specialise)
    codes = np.array(outputs, dtype=np.int64)
    return Call(
        _flow,
        (
            compiled_for,
            CompileTime(int(start)),
            CompileTime(outputs),
            work,
            batch,
            float(kappa),
            lanes,
            codes,
            steps,
        ),
    )
