"""The flow of many networks from any start: a vector is eight points, each with its own step.

A network that is done makes room for the next point at once, so that a vector takes the mean number of steps
and not the largest. Numba code keeps account of the points, and traced code computes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.batch import Batch, FlowControl, kappas_of
from fastlin.kernels.codes import Start, Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array, Call, Codes, Integers, jit
from fastlin.kernels.compiler.memory import Numbers, Spread
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.vector.balance import write_start
from fastlin.kernels.vector.flow_step import Flow, attempt, enter, leave, rate_of_change
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.inputs import inputs_loss, write_inputs_norms
from fastlin.kernels.vector.inputs_flow import InputsFlow, begin_flow
from fastlin.kernels.vector.inputs_flow import attempt as attempt_on_inputs
from fastlin.kernels.vector.observables import Observer, observe_start


class Lanes(NamedTuple):
    """The points that the lanes of a vector work on. Doubles are arrays of its workspace, (WIDTH,) each."""

    point: Integers
    record: Integers  # where the record of the point begins
    output: Integers  # index of the next time
    event: Codes  # 0, or the `Status` with which the point waits for its observation or its end
    events: NDArray[np.uint64]  # (1,) the same bytes as one number
    lam: Array
    kappa: Array
    time: Array
    next_time: Array
    tried: Array
    accepted: Array
    busy: Array
    fresh: Array
    values: Array  # (outputs, WIDTH) the outputs at the time of the lanes
    rounds: Integers  # (1,) steps of the vector


_OF_LANES = ("lam", "kappa", "time", "next_time", "tried", "accepted", "busy", "fresh")


@traced()
def _begin(code: VectorCode, start: int, work: Numbers, records: Numbers, offsets: Numbers) -> None:
    """Start the fresh lanes. Lanes that go on compute their start once more, which gives the same bits."""
    record = Spread(records, [offsets[lane] for lane in range(WIDTH)])
    if start == Start.INPUTS:
        begin_flow(code, InputsFlow.open(code, work), record)
        return
    ws = Flow.open(code, work)
    write_start(code, ws, start, record, ws.kappa[()])
    ws.call(code, observe_start)
    enter(code, ws, rate_of_change(code, ws))


@traced()
def _attempt(code: VectorCode, start: int, work: Numbers, event: Numbers) -> None:
    ws: Flow
    with code.flushing():  # weights in directions that the task does not have decay to 0
        if start == Start.INPUTS:
            ws = on_inputs = InputsFlow.open(code, work)
            attempt_on_inputs(code, on_inputs)
        else:
            ws = Flow.open(code, work)
            attempt(code, ws)
    reached: Any = ws.event[()]
    code.store_codes(event, 0, reached)


@traced()
def _observe(code: VectorCode, start: int, outputs: tuple[int, ...], work: Numbers) -> None:
    ws = _workspace(start).open(code, work)
    ws.call(code, leave)
    own = (inputs_loss, write_inputs_norms) if start == Start.INPUTS else ()
    Observer(outputs, True, *own).observe(code, ws)


def _workspace(start: int) -> type[Flow]:
    return InputsFlow if start == Start.INPUTS else Flow


# Callees have plain loops, because expressions of whole arrays take seconds to compile.


@callee
def _take_point(batch: Batch, kappa: Array, lanes: Lanes, lane: int, point: int) -> None:
    """Give a lane a point, or none past the last point."""
    each = 1 if batch.paired else batch.lam.size
    exists = point < len(batch.records) * each
    lanes.point[lane] = point
    lanes.busy[lane] = lanes.fresh[lane] = 1.0 if exists else 0.0
    lanes.time[lane] = lanes.next_time[lane] = lanes.tried[lane] = lanes.accepted[lane] = 0.0
    lanes.output[lane], lanes.event[lane] = 0, 0
    if exists:
        lanes.record[lane] = point // each * batch.records.shape[1]
        lanes.lam[lane] = batch.lam[point % batch.lam.size]
        lanes.kappa[lane] = kappa[point % kappa.size]
        batch.status[point] = Status.OK
        _aim(batch, lanes, lane)


@callee
def _aim(batch: Batch, lanes: Lanes, lane: int) -> None:
    """Let a lane go to its next time, at which it may already be."""
    lanes.next_time[lane] = batch.times[lanes.output[lane]]
    lanes.event[lane] = Status.OK if lanes.next_time[lane] <= lanes.time[lane] else 0


@callee
def _record(batch: Batch, lanes: Lanes, lane: int, codes: Integers) -> bool:
    """Write the outputs of a lane at its time. Return whether the point is done."""
    point, index = lanes.point[lane], lanes.output[lane]
    for column in range(codes.size):
        value = lanes.values[codes[column], lane]
        batch.outputs[column, point, index] = value
        if not abs(value) < np.inf:
            batch.status[point] = Status.FAILED
    lanes.output[lane] = index + 1
    if index + 1 == batch.times.size:
        return True
    _aim(batch, lanes, lane)
    return False


@callee
def _finish(batch: Batch, lanes: Lanes, lane: int, columns: int, steps: Integers) -> None:
    """Write the number of steps of a point, and NaN at the times that it did not reach."""
    point = lanes.point[lane]
    steps[point] = int(lanes.accepted[lane])
    if lanes.event[lane] != Status.OK:
        batch.status[point] = lanes.event[lane]
        for column in range(columns):
            for index in range(lanes.output[lane], batch.times.size):
                batch.outputs[column, point, index] = np.nan


@callee
def _settle(batch: Batch, kappa: Array, lanes: Lanes, codes: Integers, steps: Integers, taken: int) -> int:
    """Record and refill the lanes that have an event. Return how many points are taken."""
    for lane in range(WIDTH):
        event = lanes.event[lane]
        lanes.fresh[lane] = 0.0
        if event and (event != Status.OK or _record(batch, lanes, lane, codes)):
            _finish(batch, lanes, lane, codes.size, steps)
            _take_point(batch, kappa, lanes, lane, taken)
            taken += 1
    return taken


@callee
def _count(marks: Array) -> int:
    count = 0
    for lane in range(WIDTH):
        count += marks[lane] > 0.0
    return count


@jit
def _flow(
    sizes: Form,
    start: CompileTime,
    outputs: CompileTime,
    work: Array,
    batch: Batch,
    kappa: Array,
    lanes: Lanes,
    codes: Integers,
    steps: Integers,
) -> None:
    taken = 0
    for lane in range(WIDTH):
        _take_point(batch, kappa, lanes, lane, taken)
        taken += 1
    while _count(lanes.busy):
        if _count(lanes.fresh):
            _begin(sizes, start, work, batch.records, lanes.record)
        while lanes.events[0] == 0:
            _attempt(sizes, start, work, lanes.event)
            lanes.rounds[0] += 1
        _observe(sizes, start, outputs, work)
        taken = _settle(batch, kappa, lanes, codes, steps, taken)


def prepare(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    control: FlowControl,
    start: Start,
    kappa: float | Array,
    decay: tuple[float, float],
    specialise: bool,
) -> Call:
    """Return the call that integrates all points (see `dispatch.flow`). The sizes are those of a start."""
    workspace = _workspace(start)
    work = workspace.allocate(sizes)
    views = workspace.views(sizes, work)
    views["tolerance"][:], views["max_steps"][:] = control
    views["decay"][:] = np.array(decay)[:, None]
    event = np.zeros(WIDTH, dtype=np.uint8)
    lanes = Lanes(
        point=np.empty(WIDTH, dtype=np.int64),
        record=np.zeros(WIDTH, dtype=np.int64),
        output=np.empty(WIDTH, dtype=np.int64),
        event=event,
        events=event.view(np.uint64),
        **{name: views[name] for name in _OF_LANES},
        values=views["outputs"],
        rounds=np.zeros(1, dtype=np.int64),
    )
    steps = np.zeros(batch.points, dtype=np.int64)
    compiled_for = form(sizes, workspace, specialise=specialise)
    codes = np.array(outputs, dtype=np.int64)
    return Call(
        _flow,
        (
            compiled_for,
            CompileTime(int(start)),
            CompileTime(outputs),
            work,
            batch,
            kappas_of(batch, kappa),
            lanes,
            codes,
            steps,
        ),
    )


def nanoseconds(sizes: Sizes, steps: float, records: int, *, white: bool = True) -> Array:
    """Estimate the time of one network on one core, for accepted steps (see `closed_form.nanoseconds`).

    `white` is False for `Start.INPUTS`.

    The constants were fitted to 12 architectures of 1 to 200 rows, with a tenth of repeated steps.
    """
    entries, gram = sizes.n * sizes.width, sizes.n * sizes.width**2
    memory = np.where(entries > 96, 1.4, 1.0)  # beyond the L1 cache
    narrow = memory * (60.0 + 2.4 * entries + 0.65 * gram)
    step = np.where(sizes.unrolled, narrow, 16.0 * entries + 0.6 * gram)
    if not white:
        step = np.asarray(60.0 + 3.0 * entries + 2.3 * sizes.n_i * sizes.n_o * sizes.width)
    total: Array = steps * step + records * WIDTH * (10.0 + 0.6 * sizes.n + 0.4 * gram)
    return total
