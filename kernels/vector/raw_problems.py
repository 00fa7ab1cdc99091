"""Set-up of problems whose start is raw weights: the weights in the SVD basis of the task.

Only the hidden directions in the span of Q matter: ``Q^T = (orthonormal) R`` leaves at most N of them, and
the flow acts on Q from the left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin.kernels.compiler.arithmetic import absolute, select
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array as Doubles
from fastlin.kernels.compiler.jit import Call, Integers, jit
from fastlin.kernels.compiler.memory import Numbers, Spread
from fastlin.kernels.compiler.protocols import Array, Code, Number, Row
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.workspace import Field, part
from fastlin.kernels.draws import Problem, RegressionTask, WeightStart
from fastlin.kernels.sizes import RawSizes, Record, Sizes
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.problems import (
    Setting,
    TaskSetUp,
    decompose_task,
    over_vectors,
    setting_of,
    write_task,
)
from fastlin.kernels.vector.reflections import triangularise


class RawSetUp(TaskSetUp):
    """The arrays of the set-up of a vector of problems with raw weights."""

    first = Field("n_i n_h")  # W1^T, then V^T W1^T
    second = Field("n_o n_h")  # W2, then U^T W2
    transposed = Field("n_h units")  # Q^T, then R
    scales = Field("units twice")  # of reflections


@part(writes="first second")
def write_weights(
    code: Code, ws: RawSetUp, numbers: Row, w1_unit: Number, w2_unit: Number, init_scale: Number
) -> None:
    """Write the weights, in the order of the draws of `WeightStart.factors`."""
    sizes = code.sizes
    for h in code.loop(0, sizes.n_h):
        for i in code.loop(0, sizes.n_i):
            ws.first[i, h] = init_scale * (w1_unit * numbers[h * sizes.n_i + i])
    for o in code.loop(0, sizes.n_o):
        for h in code.loop(0, sizes.n_h):
            ws.second[o, h] = init_scale * (w2_unit * numbers[o * sizes.n_h + h + sizes.n_h * sizes.n_i])


@part(reads="task task_small first second scales", writes="task task_small first second scales")
def rotate_weights(code: Code, ws: RawSetUp) -> None:
    """Write the weights in the basis of the task."""
    flag = code.sizes.outputs_wide
    _rotate(code, ws.task, ws.scales, code.choose(flag, ws.second, ws.first))
    _rotate(code, ws.task_small, ws.scales, code.choose(flag, ws.first, ws.second))


def _rotate(code: Code, vectors: Array, scales: Array, weights: Array) -> None:
    """Write weights in a basis that begins with the given vectors, which are overwritten.

    The basis is completed by the reflections that triangularise the vectors. The triangle is a diagonal of
    signs.
    """
    triangularise(code, vectors, 0, scales, weights)
    for j in code.loop(0, vectors.shape[1]):
        sign = select(scales[j, 1] < 0.0, -1.0, 1.0)
        for column in code.loop(0, weights.shape[1]):
            weights[j, column] = sign * weights[j, column]


@part(reads="first second transposed scales", writes="first second transposed scales")
def reduce_weights(code: Code, ws: RawSetUp) -> None:
    """Rotate the hidden directions until N of them carry the weights: Q becomes a lower triangle."""
    sizes, r = code.sizes, ws.transposed
    for h in code.loop(0, sizes.n_h):
        for i in code.loop(0, sizes.n_i):
            r[h, i] = ws.first[i, h]
        for o in code.loop(0, sizes.n_o):
            r[h, o + sizes.n_i] = ws.second[o, h]
    triangularise(code, r, 0, ws.scales)
    for h in code.loop(0, sizes.units):
        diagonal = ws.scales[h, 1]
        sign = select(diagonal < 0.0, -1.0, 1.0)
        for unit in code.loop(0, h):
            r[h, unit] = 0.0
        r[h, h] = absolute(diagonal)
        for unit in code.loop(h + 1, sizes.units):
            r[h, unit] = sign * r[h, unit]
        for i in code.loop(0, sizes.n_i):
            ws.first[i, h] = r[h, i]
        for o in code.loop(0, sizes.n_o):
            ws.second[o, h] = r[h, o + sizes.n_i]


@part(reads="s first second")
def _write_record(code: Code, ws: RawSetUp, out: Spread, floor: Number) -> None:
    """Write the record of the problem of each lane."""
    sizes, record = code.sizes, Record(code.sizes)
    out[record.floor] = floor
    for a in code.loop(0, sizes.m):
        out[record.s + a] = ws.s[a]
    for h in code.loop(0, sizes.k):
        out[record.p + h] = 0.0
    for h in code.loop(0, sizes.width):
        for i in code.loop(0, sizes.n_i):
            out[record.v + i * sizes.width + h] = ws.first[i, h]
        for o in code.loop(0, sizes.n_o):
            out[record.u + o * sizes.width + h] = ws.second[o, h]


def _reduce_if_wide(code: Code, ws: RawSetUp) -> None:
    wide = code.below(code.sizes.units, code.sizes.n_h)
    code.given(wide, lambda: ws.call(code, reduce_weights))


@traced()
def _set_up_raw_records(
    code: VectorCode, work: Numbers, setting: Setting, w1_unit: Number, w2_unit: Number
) -> None:
    """Draw all problems, one vector at a time, and write their records."""
    for out, floor, init_scale in over_vectors(code, setting):
        ws = RawSetUp.open(code, work)
        write_task(code, ws, setting.targets.vectors(), setting.target_unit)
        ws.call(code, decompose_task)
        write_weights(code, ws, setting.numbers.vectors(), w1_unit, w2_unit, init_scale)
        ws.call(code, rotate_weights)
        _reduce_if_wide(code, ws)
        _write_record(code, ws, out, floor)


@jit
def _set_up_raw(sizes: Form, work: Doubles, setting: Setting, w1_unit: float, w2_unit: float) -> None:
    _set_up_raw_records(sizes, work, setting, w1_unit, w2_unit)


def prepare_records(
    sizes: Sizes, seeds: Integers, problem: Problem, init_scales: Doubles, specialise: bool
) -> Call:
    """Return the call that draws raw problems in lanes (see `dispatch.draw_raw_records`)."""
    task, start = problem.task, problem.start
    assert isinstance(task, RegressionTask) and isinstance(start, WeightStart)
    raw = RawSizes(sizes.n_i, sizes.n_h, sizes.n_o)
    w1_unit, w2_unit = start.units(sizes)
    compiled_for = form(raw, RawSetUp, specialise=specialise, unroll=False)
    setting, work = setting_of(raw, seeds, task, start, init_scales), RawSetUp.allocate(raw)
    return Call(_set_up_raw, (compiled_for, work, setting, w1_unit, 0.0 if start.zero_w2 else w2_unit))


def draw_records(
    sizes: Sizes, seeds: Integers, problem: Problem, init_scales: Doubles, specialise: bool
) -> Doubles:
    """Draw raw problems in lanes, which are independent (see `dispatch.draw_raw_records`)."""
    call = prepare_records(sizes, seeds, problem, init_scales, specialise)
    call()
    records: Doubles = call.arguments[2].records
    return records


def nanoseconds(sizes: Sizes) -> Any:
    """Estimate the time of the set-up of one problem on one core (see `closed_form.nanoseconds`)."""
    draws = 3.4 * sizes.n_h * sizes.units + 5.9 * sizes.n_i * sizes.n_o
    task = 2.6 * sizes.m**2 * sizes.wide
    rotation = 0.25 * sizes.n_h * sizes.m * sizes.units
    reduction = np.where(sizes.n_h > sizes.units, 0.25 * sizes.n_h * sizes.units**2, 0.0)
    return 150.0 + draws + task + rotation + reduction
