"""Networks on tasks with inputs that are not whitened: their start, the gradient of the loss, their outputs.

The rows of inputs of Q are in the eigenbasis of ``C = Sigma_xx = V diag(c) V^T``, and the target is dense.
With ``X = V^T W1^T``, ``Y = W2``, the weighted rows ``Z = diag(c)^(1/2) X`` and the target ``T = Sigma_yx V
diag(c)^(-1/2)``, the loss is ``floor + |R|^2 / 2`` with ``R = T - Y Z^T``, and the flow is ``X' =
diag(c)^(1/2) R^T Y`` and ``Y' = R Z``. Inputs with c = 0 do not learn.

The NTK is normalised by P. Its square is ``N_o |Z^T Z|^2 + |C|^2 |Y^T Y|^2 + 2 tr(Z^T diag(c) Z) |Y|^2``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastlin.kernels.codes import Output
from fastlin.kernels.compiler.arithmetic import fma, select, sqrt
from fastlin.kernels.compiler.protocols import Array, Code, Number, Operand, Row, Whole
from fastlin.kernels.compiler.workspace import Field, part
from fastlin.kernels.sizes import InputsRecord
from fastlin.kernels.vector.gram import together
from fastlin.kernels.vector.observables import Layer, kernel_distance, ntk_norm
from fastlin.kernels.vector.state import Dynamics


class Inputs(Dynamics):
    """The arrays of the dynamics, and those of a task with inputs that are not whitened."""

    root = Field("n_i")  # sqrt(c)
    target = Field("n_o n_i")  # T, 0 where c is 0
    total = Field()  # sum of the singular values of Sigma_yx
    spread = Field()  # |C|^2
    weighted = Field("n_i width")  # Z
    weighted_start = Field("n_i width")  # Z of the start
    residual = Field("n_o n_i")  # R


@part(reads="root spread", writes="floor total spread root target q0")
def read_inputs(code: Code, ws: Inputs, record: Row) -> None:
    """Write the task and the start of a point from the `InputsRecord` of each network."""
    sizes, at = code.sizes, InputsRecord(code.sizes)
    ws.floor[()], ws.total[()] = record[at.floor], record[at.total]
    ws.spread[()] = 0.0
    for i in code.loop(0, sizes.n_i):
        c = record[at.c + i]
        ws.root[i] = sqrt(c)
        ws.spread[()] = fma(c, c, ws.spread[()])
        learns = c > 0.0
        for o in code.loop(0, sizes.n_o):
            sigma = record[at.sigma + o * sizes.n_i + i]
            ws.target[o, i] = select(learns, sigma / select(learns, ws.root[i], 1.0), 0.0)
    for i in code.loop(0, sizes.n):
        for h in code.columns(0, sizes.width):
            ws.q0[i, h] = record[at.v + i * sizes.width + h]  # u follows v


@part(reads="root q0 weighted_start spread", writes="weighted_start start")
def observe_inputs_start(code: Code, ws: Inputs) -> None:
    """Write the norms of the start in q0, with which later norms are compared."""
    _weigh(code, ws, ws.q0, ws.weighted_start)
    view = _View(code, ws, ws.q0, ws.weighted_start)
    ws.start[0], ws.start[1], ws.start[2] = view.inputs.trace, view.outputs.trace, view.norm


def squared_size(code: Code, q: Array) -> Number:
    """Return |Q|^2."""
    total = code.variable(0.0)
    for i in code.loop(0, code.sizes.n):
        for h in code.columns(0, code.sizes.width):
            total.value = fma(q[i, h], q[i, h], total.value)
    size: Number = total.value
    return size


# The gradient


def gradient(
    code: Code,
    ws: Inputs,
    q: Array,
    put_inputs: Callable[[Whole, Whole, Number], None],
    put_outputs: Callable[[Whole, Whole, Number], None],
) -> None:
    """Call functions with the row, the column and an entry of R^T Y, and then of R Z, for the weights in q.

    The first may overwrite the rows of inputs of q, and the second those of outputs. The part that calls this
    reads root, target, weighted and residual, and writes the last two.
    """
    n_i, n_o, residual, weighted = code.sizes.n_i, code.sizes.n_o, ws.residual, ws.weighted
    write_residual(code, ws, q)
    _products(code, n_i, n_o, lambda i, o: residual[o, i], lambda o, h: q[n_i + o, h], put_inputs)
    _products(code, n_o, n_i, lambda o, i: residual[o, i], lambda i, h: weighted[i, h], put_outputs)


def write_residual(code: Code, ws: Inputs, q: Array) -> None:
    """Write Z and R of the weights in q, several entries of R at a time, so that sums run at once."""
    sizes, weighted = code.sizes, ws.weighted
    _weigh(code, ws, q, weighted)
    for o in code.loop(0, sizes.n_o):
        for some in code.rows(0, sizes.n_i):
            sums = [code.variable(ws.target[o, i]) for i in some]
            for h in code.columns(0, sizes.width):
                head = -q[sizes.n_i + o, h]
                for i, each in zip(some, sums, strict=True):
                    each.value = fma(head, weighted[i, h], each.value)
            for i, each in zip(some, sums, strict=True):
                ws.residual[o, i] = each.value


def _weigh(code: Code, ws: Inputs, q: Array, weighted: Array) -> None:
    """Write the weighted rows of inputs of q."""
    for i in code.loop(0, code.sizes.n_i):
        for h in code.columns(0, code.sizes.width):
            weighted[i, h] = ws.root[i] * q[i, h]


def _products(
    code: Code,
    rows: Whole,
    terms: Whole,
    left: Callable[[Whole, Whole], Number],
    right: Callable[[Whole, Whole], Number],
    put: Callable[[Whole, Whole, Number], None],
) -> None:
    """Call `put` with each row, each hidden column, and the sum of left(row, term) * right(term, column)."""
    width = code.sizes.width
    for some in together(code, code.rows(0, rows), code.loop(0, rows)):
        for block in [range(width)] if code.sizes.unrolled else code.blocks(width):
            sums = [[code.variable(0.0) for _ in block] for _ in some]
            for term in code.loop(0, terms):
                heads = [left(row, term) for row in some]
                for place, h in enumerate(block):
                    entry = right(term, h)
                    for head, each in zip(heads, sums, strict=True):
                        each[place].value = fma(head, entry, each[place].value)
            for row, each in zip(some, sums, strict=True):
                for h, total in zip(block, each, strict=True):
                    put(row, h, total.value)


# Outputs


class _View:
    """Both layers of a Q on these inputs, and the norm of its NTK (see `observables.View`)."""

    def __init__(
        self,
        code: Code,
        ws: Inputs,
        q: Array,
        weighted: Array,
        others: tuple[Array, Array] | tuple[None, None] = (None, None),
    ) -> None:
        sizes = code.sizes
        self.inputs = Layer(code, weighted, (0, sizes.n_i), others[1])
        self.outputs = Layer(code, q, (sizes.n_i, sizes.n), others[0])
        trace = code.variable(0.0)
        for i in code.loop(0, sizes.n_i):
            for h in code.columns(0, sizes.width):
                entry = ws.root[i] * weighted[i, h]
                trace.value = fma(entry, entry, trace.value)
        self.inputs.trace = trace.value  # tr(W1^T W1 C^2)
        self.spread: Operand = ws.spread[()]
        self.norm = ntk_norm(code, self)


@part(reads="q root target weighted residual floor", writes="weighted residual outputs")
def inputs_loss(code: Code, ws: Inputs) -> None:
    """Write floor + |R|^2 / 2, which does not cancel near the minimum."""
    write_residual(code, ws, ws.q)
    total = code.variable(0.0)
    for o in code.loop(0, code.sizes.n_o):
        for i in code.loop(0, code.sizes.n_i):
            total.value = fma(ws.residual[o, i], ws.residual[o, i], total.value)
    ws.outputs[Output.LOSS] = fma(total.value, 0.5, ws.floor[()])


@part(reads="q q0 root spread weighted weighted_start start", writes="weighted outputs")
def write_inputs_norms(code: Code, ws: Inputs, outputs: tuple[int, ...]) -> None:
    """Write the outputs that are norms of weights or of the NTK."""
    _weigh(code, ws, ws.q, ws.weighted)
    others: Any = (ws.q0, ws.weighted_start) if Output.KERNEL_DISTANCE in outputs else (None, None)
    view = _View(code, ws, ws.q, ws.weighted, others)
    make: dict[int, Callable[[], Number]] = {
        Output.KERNEL_DISTANCE: lambda: kernel_distance(code, ws.start, view),
        Output.NTK_NORM: lambda: view.norm,
        Output.W1_NORM: lambda: _norm_of_inputs(code, ws.q),
        Output.W2_NORM: lambda: sqrt(view.outputs.trace),
    }
    for output in outputs:
        if output in make:
            ws.outputs[output] = make[output]()


def _norm_of_inputs(code: Code, q: Array) -> Number:
    total = code.variable(0.0)
    for i in code.loop(0, code.sizes.n_i):
        for h in code.columns(0, code.sizes.width):
            total.value = fma(q[i, h], q[i, h], total.value)
    norm: Number = sqrt(total.value)
    return norm
