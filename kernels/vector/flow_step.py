"""A step of the flow, by DOP853 with control of the error (see `dormand_prince`).

Every network of a vector has its own time and its own step. A step works with derivatives times its length,
so that the sums of stages have no factor. With the Gram matrices X^T X of the rows of inputs and Y^T Y of
those of outputs, ``X' = S^T Y - X (Y^T Y + d1)`` and ``Y' = S X - Y (X^T X + d2)`` for decay (d1, d2).

A stage has two passes over the rows: one forms its state and the Gram matrices, the other its derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastlin.kernels.codes import Status
from fastlin.kernels.compiler.arithmetic import fma, select, sqrt
from fastlin.kernels.compiler.protocols import Array, Code, Number, Whole
from fastlin.kernels.compiler.workspace import Field, part
from fastlin.kernels.dormand_prince import (
    ERROR_5,
    FIRST,
    LARGEST_FACTOR,
    LEAST_FACTOR,
    SAFETY,
    SHARE_3,
    SLOWEST,
    STAGES,
    TINY,
    WEIGHTS,
    WEIGHTS_3,
)
from fastlin.kernels.vector.gram import add_products, subtract_product, subtract_products
from fastlin.kernels.vector.state import Dynamics

# Slots of a row of Q. A derivative takes over the slot of one that is not needed any more.
_STATE, _NEW = 0, 4
_SLOTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 2, 3)  # of the derivative of each stage


class Flow(Dynamics):
    """Arrays of the flow. Those of a step hold derivatives times the step."""

    # Of the whole run
    tolerance = Field()
    max_steps = Field()
    decay = Field("twice")  # of W1 and of W2

    # Of a network
    kappa = Field()  # of a two-sided start
    busy = Field()  # 1, or 0 for a lane that has no network any more
    fresh = Field()  # 1 for a network that starts now
    next_time = Field()  # at which a step ends
    length = Field()  # the next step
    repeated = Field()  # 1 if the last step was rejected
    tried = Field()  # steps, repeated ones included
    accepted = Field()  # steps
    event = Field()  # 0, or the `Status` with which a network waits for its observation or its end

    # Of a step
    step = Field()
    stages = Field("n slots width")  # the state and the derivatives of each row, by `_SLOTS`
    gram_i = Field("width width")  # Gram matrices of the rows of each layer
    gram_o = Field("width width")
    trial = Field("n width")  # the state of a stage, where a row does not fit the registers
    rate = Field("n width")  # its derivative

    def derives_in_slots(self, code: Code) -> bool:
        """Return whether the derivative of a stage replaces its state in its slot, and is not in `rate`."""
        return bool(code.sizes.unrolled)


@part(reads="start s")
def rate_of_change(code: Code, ws: Flow) -> Number:
    """Return the rate at which weights change at the start: |Q|^2 + s_1, NaN if any singular value is."""
    total = code.variable(0.0)
    for a in code.loop(0, code.sizes.m):
        total.value = total.value + ws.s[a]
    rate: Number = fma(total.value, 0.0, ws.start[0] + ws.start[1] + ws.s[0])
    return rate


@part(reads="fresh decay length repeated", writes="length repeated")
def enter(code: Code, ws: Flow, rate: Number) -> None:
    """Begin with the start in q0 and the first step, in networks that start now, by their rate of change."""
    fresh = ws.fresh[()] > 0.0
    ws.call(code, _copy_start)
    first = FIRST / (rate + ws.decay[0] + ws.decay[1] + SLOWEST)
    ws.length[()] = select(fresh, first, ws.length[()])
    ws.repeated[()] = select(fresh, 0.0, ws.repeated[()])


@part(reads="fresh q0 stages", writes="stages")
def _copy_start(code: Code, ws: Flow) -> None:
    fresh = ws.fresh[()] > 0.0
    for i in code.loop(0, code.sizes.n):
        for h in code.columns(0, code.sizes.width):
            ws.stages[i, _STATE, h] = select(fresh, ws.q0[i, h], ws.stages[i, _STATE, h])


@part(reads="stages", writes="q")
def leave(code: Code, ws: Flow) -> None:
    """Copy the state to q."""
    for i in code.loop(0, code.sizes.n):
        for h in code.columns(0, code.sizes.width):
            ws.q[i, h] = ws.stages[i, _STATE, h]


def attempt(code: Code, ws: Flow) -> None:
    """Take a step in every network, or find that it has to be shorter."""
    ws.call(code, begin_step)
    for stage, run in enumerate(_STAGE_PARTS):
        ws.call(code, run)
        if code.sizes.unrolled:
            ws.call(code, derive, code.whole(_SLOTS[stage]))
        else:
            ws.call(code, derive_by_columns)
    ws.call(code, end_step)


@part(reads="time next_time length decay", writes="step damping")
def choose_step(code: Code, ws: Flow) -> None:
    """Choose the step, which ends at the next output at the latest."""
    rest, length = ws.next_time[()] - ws.time[()], ws.length[()]
    step = select(length >= rest, rest, length)
    ws.step[()] = step
    for layer in range(2):
        ws.damping[layer] = step * ws.decay[layer]


@part(reads="s step", writes="scaled")
def begin_step(code: Code, ws: Flow) -> None:
    """Choose the step, and scale the target by it."""
    choose_step(code, ws)
    for a in code.loop(0, code.sizes.m):
        ws.scaled[a] = ws.step[()] * ws.s[a]


def _stage_part(stage: int) -> Callable[[Code, Flow], None]:
    @part(reads="stages rate trial", writes="stages trial gram_i gram_o")
    def run(code: Code, ws: Flow) -> None:
        sizes = code.sizes
        write = _try if sizes.unrolled else _try_by_columns
        write(code, ws, stage, ws.gram_i, 0, sizes.rows_i)
        write(code, ws, stage, ws.gram_o, sizes.rows_i, sizes.n)

    return run


_STAGE_PARTS = [_stage_part(stage) for stage in range(len(STAGES))]


def _sum(row: Array, coefficients: dict[int, float], i: Whole, h: Whole) -> Number:
    """Return an entry of the state plus a sum of derivatives."""
    value = row[i, _STATE, h]
    for stage, coefficient in coefficients.items():
        value = fma(row[i, _SLOTS[stage], h], coefficient, value)
    return value


def _try(code: Code, ws: Flow, stage: int, gram: Array, first: Whole, last: Whole) -> None:
    """Write the state of a stage in rows first..last-1 to its slot, and its Gram matrix, lower half."""
    width, stages = code.sizes.width, ws.stages
    total, row = code.local(width, width), code.local(width)
    for h in code.columns(0, width):
        for g in code.columns(0, h + 1):
            total[h, g] = code.constant(0.0)
    for i in code.loop(first, last):
        for h in code.columns(0, width):
            row[h] = _sum(stages, STAGES[stage], i, h)
            stages[i, _SLOTS[stage], h] = row[h]
        for h in code.columns(0, width):
            for g in code.columns(0, h + 1):
                total[h, g] = fma(row[h], row[g], total[h, g])
    for h in code.columns(0, width):
        for g in code.columns(0, h + 1):
            gram[h, g] = total[h, g]


def _scaled_gram(code: Code, ws: Flow, gram: Array, layer: int) -> Array:
    """Return a Gram matrix, of which the lower half is given, times the step, plus the decay of a layer."""
    step, matrix = ws.step[()], code.local(code.sizes.width, code.sizes.width)
    for h in code.columns(0, code.sizes.width):
        for g in code.columns(0, h):
            matrix[h, g] = step * gram[h, g]
            matrix[g, h] = matrix[h, g]
        matrix[h, h] = fma(step, gram[h, h], ws.damping[layer])
    return matrix


@part(reads="stages step scaled damping gram_i gram_o", writes="stages")
def derive(code: Code, ws: Flow, slot: Whole) -> None:
    """Replace the state of a stage in its slot by its derivative, where a row fits the registers."""
    sizes, stages = code.sizes, ws.stages
    inputs, outputs = _scaled_gram(code, ws, ws.gram_i, 1), _scaled_gram(code, ws, ws.gram_o, 0)
    first, second = code.local(sizes.width), code.local(sizes.width)

    def put(row: Whole) -> Callable[[Whole, Number], None]:
        def put_entry(h: Whole, value: Number) -> None:
            stages[row, slot, h] = value

        return put_entry

    for a in code.loop(0, sizes.m):
        b, pull = sizes.rows_i + a, ws.scaled[a]
        for h in code.columns(0, sizes.width):
            first[h], second[h] = stages[a, slot, h], stages[b, slot, h]
        subtract_product(code, partial(_pulled, second, pull), first, outputs, put(a))
        subtract_product(code, partial(_pulled, first, pull), second, inputs, put(b))
    for last, shift, other in ((sizes.rows_i, 0, outputs), (sizes.rows_o, sizes.rows_i, inputs)):
        for a in code.loop(sizes.m, last):
            for h in code.columns(0, sizes.width):
                first[h] = stages[shift + a, slot, h]
            subtract_product(code, lambda h: code.constant(0.0), first, other, put(shift + a))


def _pulled(other: Array, pull: Number, h: Whole) -> Number:
    """Return the pull of the target along the other layer."""
    return pull * other[h]


def _try_by_columns(code: Code, ws: Flow, stage: int, gram: Array, first: Whole, last: Whole) -> None:
    """Write the state of a stage in rows first..last-1 to `trial`, and its Gram matrix."""
    write_trial(code, ws, stage, first, last)
    add_products(code, first, last, [(gram, ws.trial, ws.trial)])


def write_trial(code: Code, ws: Flow, stage: int, first: Whole, last: Whole) -> None:
    """Write the state of a stage in some rows to `trial`, after the derivative before it to its slot."""
    stages = ws.stages
    for i in code.loop(first, last):
        for h in code.columns(0, code.sizes.width):
            if stage:
                stages[i, _SLOTS[stage - 1], h] = ws.rate[i, h]
            ws.trial[i, h] = _sum(stages, STAGES[stage], i, h)


@part(reads="trial rate step scaled damping gram_i gram_o", writes="rate")
def derive_by_columns(code: Code, ws: Flow) -> None:
    """Write the derivative of the state in `trial` to `rate`."""
    sizes, trial, rate = code.sizes, ws.trial, ws.rate
    inputs, outputs = _scaled_gram(code, ws, ws.gram_i, 1), _scaled_gram(code, ws, ws.gram_o, 0)
    for a in code.loop(0, sizes.m):
        b, pull = sizes.rows_i + a, ws.scaled[a]
        for h in code.columns(0, sizes.width):
            rate[a, h], rate[b, h] = pull * trial[b, h], pull * trial[a, h]
    for first, last in ((sizes.m, sizes.rows_i), (sizes.rows_i + sizes.m, sizes.n)):
        for i in code.loop(first, last):
            for h in code.columns(0, sizes.width):
                rate[i, h] = 0.0
    code.apart(subtract_products, rate, trial, outputs, 0, sizes.rows_i, 0)
    code.apart(subtract_products, rate, trial, inputs, sizes.rows_i, sizes.rows_o, sizes.rows_i)


@part(
    reads="stages rate time next_time length step tolerance tried accepted repeated max_steps busy",
    writes="stages time length tried accepted repeated event",
)
def end_step(code: Code, ws: Flow) -> None:
    """Accept the step or not, and choose the next one."""
    n5, n3, size = _propose(code, ws)
    time, target, step, length = ws.time[()], ws.next_time[()], ws.step[()], ws.length[()]
    # The square of the error over the tolerance. Derivatives hold the step already. Products of two squares
    # would underflow for weights of 1e-80.
    share = n5 / (fma(n3, SHARE_3, n5) + TINY)
    square = share * (n5 / (ws.tolerance[()] * ws.tolerance[()] * size + TINY))
    accepted = (square <= 1.0) & (n3 < float("inf"))
    # NaN is no number to divide by, and asks for the shortest step.
    root = sqrt(sqrt(sqrt(sqrt(select(square > TINY, square, TINY)))))
    factor = SAFETY / select(square < float("inf"), root, float("inf"))
    factor = select(factor > LEAST_FACTOR, factor, LEAST_FACTOR)
    largest = select(ws.repeated[()] > 0.0, 1.0, LARGEST_FACTOR)
    factor = select(factor < largest, factor, largest)
    ws.repeated[()] = select(accepted, 0.0, 1.0)
    last, following = length >= target - time, factor * step
    # A step that an output cut short tells little of the next one.
    kept = accepted & last & (factor >= 1.0) & (length > following)
    length = select(kept, length, following)
    time = select(accepted, select(last, target, time + step), time)
    ws.time[()], ws.length[()] = time, length
    busy = ws.busy[()]
    ws.tried[()] = ws.tried[()] + busy
    ws.accepted[()] = select(accepted, ws.accepted[()] + busy, ws.accepted[()])
    finite = (size < float("inf")) & (step < float("inf"))
    stuck = ~((time + length > time) & (ws.tried[()] < ws.max_steps[()]))
    event = select(stuck, float(Status.TOO_STIFF), 0.0)
    event = select(time >= target, float(Status.OK), event)
    ws.event[()] = busy * select(finite, event, float(Status.FAILED))
    for i in code.loop(0, code.sizes.n):
        for h in code.columns(0, code.sizes.width):
            ws.stages[i, _STATE, h] = select(accepted, ws.stages[i, _NEW, h], ws.stages[i, _STATE, h])


@part(reads="stages rate", writes="stages")
def _propose(code: Code, ws: Flow) -> tuple[Number, Number, Number]:
    """Write the new state to its slot, and return the squared norms of both errors and the old state."""
    sizes, stages = code.sizes, ws.stages
    in_slots = ws.derives_in_slots(code)
    n5, n3, size = (code.variable(0.0) for _ in range(3))
    last = len(STAGES) - 1
    for i in code.loop(0, sizes.n):
        for h in code.columns(0, sizes.width):
            k = {stage: stages[i, _SLOTS[stage], h] for stage in WEIGHTS if stage != last}
            k[last] = stages[i, _SLOTS[last], h] if in_slots else ws.rate[i, h]
            error_5, change = k[last] * ERROR_5[last], k[last] * WEIGHTS[last]
            for stage in WEIGHTS:
                if stage != last:
                    error_5 = fma(k[stage], ERROR_5[stage], error_5)
                    change = fma(k[stage], WEIGHTS[stage], change)
            state = stages[i, _STATE, h]
            size.value = fma(state, state, size.value)
            stages[i, _NEW, h] = state + change
            error_3 = change
            for stage, weight in WEIGHTS_3.items():
                error_3 = fma(k[stage], -weight, error_3)
            n5.value = fma(error_5, error_5, n5.value)
            n3.value = fma(error_3, error_3, n3.value)
    return n5.value, n3.value, size.value
