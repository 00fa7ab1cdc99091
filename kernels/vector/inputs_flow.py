"""A step of the flow and of gradient descent on tasks with inputs that are not whitened (see `inputs`)."""

from __future__ import annotations

from collections.abc import Callable

from fastlin.kernels.compiler.arithmetic import fma, select, sqrt
from fastlin.kernels.compiler.protocols import Code, Number, Row, Whole
from fastlin.kernels.compiler.workspace import Field, part
from fastlin.kernels.dormand_prince import STAGES
from fastlin.kernels.tolerances import BLOW_UP
from fastlin.kernels.vector.flow_step import Flow, choose_step, end_step, enter, write_trial
from fastlin.kernels.vector.inputs import Inputs, gradient, observe_inputs_start, read_inputs, squared_size


class InputsFlow(Flow, Inputs):
    """The arrays of the flow on such a task. A stage has its state in `trial`, its derivative in `rate`."""

    def derives_in_slots(self, code: Code) -> bool:
        """Return False, because the derivative of a row needs all rows of the other layer."""
        return False


def begin_flow(code: Code, ws: InputsFlow, record: Row) -> None:
    """Begin the flow in networks that start now."""
    read_inputs(code, ws, record)
    ws.call(code, observe_inputs_start)
    enter(code, ws, _rate_of_change(code, ws))


@part(reads="q0 root target")
def _rate_of_change(code: Code, ws: InputsFlow) -> Number:
    """Return the rate at which weights change at the start: |Q|^2, times the largest c, plus |Sigma_yx|."""
    largest, square = code.variable(0.0), code.variable(0.0)
    for i in code.loop(0, code.sizes.n_i):
        c = ws.root[i] * ws.root[i]
        largest.value = select(c > largest.value, c, largest.value)
        for o in code.loop(0, code.sizes.n_o):
            sigma = ws.root[i] * ws.target[o, i]
            square.value = fma(sigma, sigma, square.value)
    rate: Number = fma(largest.value, squared_size(code, ws.q0), sqrt(square.value))
    return rate


def attempt(code: Code, ws: InputsFlow) -> None:
    """Take a step in every network, or find that it has to be shorter."""
    ws.call(code, choose_step)
    for run in _STAGE_PARTS:
        ws.call(code, run)
        ws.call(code, derive_on_inputs)
    ws.call(code, end_step)


def _stage_part(stage: int) -> Callable[[Code, InputsFlow], None]:
    @part(reads="stages rate", writes="stages trial")
    def run(code: Code, ws: InputsFlow) -> None:
        write_trial(code, ws, stage, 0, code.sizes.n)

    return run


_STAGE_PARTS = [_stage_part(stage) for stage in range(len(STAGES))]


@part(reads="trial root target weighted residual step damping", writes="weighted residual rate")
def derive_on_inputs(code: Code, ws: InputsFlow) -> None:
    """Write the derivative of the state in `trial`, times the step, to `rate`."""
    state, rate, first = ws.trial, ws.rate, code.sizes.n_i

    def put_inputs(i: Whole, h: Whole, value: Number) -> None:
        rate[i, h] = fma(ws.step[()] * ws.root[i], value, -(ws.damping[0] * state[i, h]))

    def put_outputs(o: Whole, h: Whole, value: Number) -> None:
        rate[first + o, h] = fma(ws.step[()], value, -(ws.damping[1] * state[first + o, h]))

    gradient(code, ws, state, put_inputs, put_outputs)


class InputsDescent(Inputs):
    """The arrays of gradient descent on such a task. The weights are in q."""

    learning_rate = Field()
    kept = Field("twice")  # shares of W1 and of W2 that a step keeps, 1 without decay


@part(reads="q0 total", writes="q learning_rate kept")
def begin_descent(
    code: Code, ws: InputsDescent, record: Row, rate: Number, decay: tuple[Number, Number]
) -> Number:
    """Write the task and the start, and return the |Q|^2 beyond which a run has diverged."""
    read_inputs(code, ws, record)
    ws.call(code, observe_inputs_start)
    ws.q.fill(ws.q0)
    ws.learning_rate[()] = rate
    ws.kept[0], ws.kept[1] = 1.0 - rate * decay[0], 1.0 - rate * decay[1]
    limit: Number = BLOW_UP * (squared_size(code, ws.q0) + ws.total[()])
    return limit


@part(reads="q root target weighted residual learning_rate kept", writes="q weighted residual")
def walk_on_inputs(code: Code, ws: InputsDescent, steps: Whole) -> None:
    """Take so many steps of gradient descent."""
    q, first = ws.q, code.sizes.n_i

    def put_inputs(i: Whole, h: Whole, value: Number) -> None:
        q[i, h] = fma(ws.learning_rate[()] * ws.root[i], value, ws.kept[0] * q[i, h])

    def put_outputs(o: Whole, h: Whole, value: Number) -> None:
        q[first + o, h] = fma(ws.learning_rate[()], value, ws.kept[1] * q[first + o, h])

    with code.flushing():  # weights in directions that the task does not have decay to 0
        for _ in code.loop(0, steps):
            gradient(code, ws, q, put_inputs, put_outputs)
