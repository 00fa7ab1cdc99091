"""Numbers per network and time, from the factor Q = [W1, W2^T]^T in the SVD basis of the task.

Inputs are whitened throughout. The NTK is normalised by P, the number of samples. Only the code that the
requested outputs need is compiled. Outputs do not depend on the reduction of Q to fewer rows than units (see
`Sizes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastlin.kernels.codes import Output
from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.elementary import exp, log
from fastlin.kernels.compiler.protocols import Array, Code, Number, Operand, Row, Variable, Whole
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.vector.gram import add_products
from fastlin.kernels.vector.jacobi import column_norms, orthogonalise
from fastlin.kernels.vector.state import Dynamics

_SMALL, _RAISED = 1e-100, 2.0**500  # products with entries below the first are multiplied by the second


class Layer:
    """Traces and squares of the Gram matrices of one layer, the rows X of Q, for norms and kernels."""

    def __init__(self, code: Code, q: Array, rows: tuple[Whole, Whole], other: Array | None = None) -> None:
        width = code.sizes.width
        gram, cross = code.local(width, width), code.local(width, width)
        products = [(gram, q, q)]
        if other is not None:
            products.append((cross, q, other))
        add_products(code, *rows, products)
        if other is None:
            for h in code.columns(0, width):
                for g in code.columns(0, width):
                    cross[h, g] = 0.0
        trace, square, product = (code.variable(0.0) for _ in range(3))
        for h in code.columns(0, width):
            trace.value = trace.value + gram[h, h]
            square.value = fma(gram[h, h], gram[h, h], square.value)
            for g in code.columns(0, h):
                square.value = fma(2.0 * gram[h, g], gram[h, g], square.value)
            for g in code.columns(0, width):
                product.value = fma(cross[h, g], cross[h, g], product.value)
        self.trace = trace.value  # |X|_F^2
        self.square = square.value  # |X X^T|_F^2 = |X^T X|_F^2
        self.product = product.value  # <X X^T, Y Y^T> = |X^T Y|_F^2 with Y of the other Q


class View:
    """Both layers of a Q, and the norm of its NTK. `other` is the Q that its kernel is compared with."""

    def __init__(self, code: Code, q: Array, other: Array | None = None) -> None:
        sizes = code.sizes
        self.inputs = Layer(code, q, (0, sizes.rows_i), other)
        self.outputs = Layer(code, q, (sizes.rows_i, sizes.n), other)
        self.spread = code.real(sizes.n_i)  # |Sigma_xx|^2 of whitened inputs
        self.norm = ntk_norm(code, self)


def ntk_norm(code: Code, view: Any) -> Number:
    """Return the norm of the NTK of a `View`.

    ``|K|^2 / P^2 = N_o |M|^2 + N_i |B|^2 + 2 tr M tr B`` with ``M = W1^T W1`` and ``B = W2 W2^T``. This
    follows from ``K = I x X^T M X + B x X^T X`` for whitened X.
    """
    traces = 2.0 * view.inputs.trace * view.outputs.trace
    square = fma(view.outputs.square, view.spread, traces)
    norm: Number = sqrt(fma(view.inputs.square, code.real(code.sizes.n_o), square))
    return norm


@part(reads="q0", writes="start")
def observe_start(code: Code, ws: Dynamics) -> None:
    """Write the norms of the start in q0, with which later norms are compared."""
    view = View(code, ws.q0)
    ws.start[0], ws.start[1], ws.start[2] = view.inputs.trace, view.outputs.trace, view.norm


class Observer:
    """The observer of the requested outputs.

    `drifts` is False for the closed form. It conserves the balance by construction, and its hidden basis
    turns with t. Other inputs than whitened ones have parts of their own for the loss and the norms.
    """

    def __init__(
        self,
        outputs: tuple[int, ...],
        drifts: bool,
        loss: Callable[..., None] | None = None,
        norms: Callable[..., None] | None = None,
    ) -> None:
        self._outputs, self._drifts = outputs, drifts
        self._loss, self._write_norms = loss or write_loss, norms or write_norms

    def observe(self, code: Code, ws: Dynamics) -> None:
        """Write the outputs of Q in q. Each kind of output is computed in a separate function."""
        parts = {
            Output.LOSS: self._loss,
            Output.BALANCE_DRIFT: _balance_drift if self._drifts else no_drift,
            Output.EFFECTIVE_RANK: _effective_rank,
        }
        for output in self._outputs:
            if output in parts:
                ws.call(code, parts[Output(output)])
        if any(output not in parts for output in self._outputs):
            ws.call(code, self._norms)

    def _norms(self, code: Code, ws: Dynamics) -> None:
        self._write_norms(code, ws, self._outputs)


@part(reads="q q0 start", writes="outputs")
def write_norms(code: Code, ws: Dynamics, outputs: tuple[int, ...]) -> None:
    """Write the outputs that are norms of weights or of the NTK."""
    view = View(code, ws.q, ws.q0 if Output.KERNEL_DISTANCE in outputs else None)
    make: dict[int, Callable[[], Number]] = {
        Output.KERNEL_DISTANCE: lambda: kernel_distance(code, ws.start, view),
        Output.NTK_NORM: lambda: view.norm,
        Output.W1_NORM: lambda: sqrt(view.inputs.trace),
        Output.W2_NORM: lambda: sqrt(view.outputs.trace),
    }
    for output in outputs:
        if output in make:
            ws.outputs[output] = make[output]()


def kernel_distance(code: Code, start: Row, view: Any) -> Number:
    """Return 1 - <K_0, K_t> / (|K_0| |K_t|) of a start and a `View`. Rounding must not make it negative."""
    first, second, norm = start[0], start[1], start[2]
    traces = fma(first, view.outputs.trace, view.inputs.trace * second)
    product = fma(view.outputs.product, view.spread, traces)
    cosine = fma(view.inputs.product, code.real(code.sizes.n_o), product) / (norm * view.norm)
    # Written so that NaN stays NaN.
    distance: Number = select(cosine > 1.0, 0.0, 1.0 - cosine)
    return distance


@part(reads="q s floor", writes="outputs")
def write_loss(code: Code, ws: Dynamics) -> None:
    """Write floor + |Sigma - W2 W1|^2 / 2, which does not cancel near the minimum."""
    sizes, q = code.sizes, ws.q
    before, at, after = (code.variable(0.0) for _ in range(3))  # three sums, so that none waits for itself

    def entries(total: Variable, o: Whole, inputs: Iterable[Whole], target: Operand) -> None:
        for i in inputs:
            error = code.variable(target)
            for h in code.columns(0, sizes.width):
                error.value = fma(-q[sizes.rows_i + o, h], q[i, h], error.value)
            total.value = fma(error.value, error.value, total.value)

    def add(total: Variable, errors: Array, first: Whole, last: Whole) -> None:
        for i in code.loop(first, last):
            total.value = fma(errors[i], errors[i], total.value)

    if sizes.unrolled:
        for o in code.loop(0, sizes.m):
            entries(before, o, code.loop(0, o), 0.0)
            entries(at, o, [o], ws.s[o])
            entries(after, o, code.loop(o + 1, sizes.rows_i), 0.0)
        for o in code.loop(sizes.m, sizes.rows_o):
            entries(before, o, code.loop(0, sizes.rows_i), 0.0)
    else:
        errors = code.local(sizes.rows_i)
        for o in code.loop(0, sizes.rows_o):
            _write_errors(code, ws, o, errors)
            inside = code.below(o, sizes.rows_i)  # and then o < m
            end = code.choose(inside, o, sizes.rows_i)
            add(before, errors, 0, end)
            add(at, errors, o, code.choose(inside, o + 1, o))
            add(after, errors, o + 1, sizes.rows_i)
    ws.outputs[Output.LOSS] = fma(before.value + at.value + after.value, 0.5, ws.floor[()])


@part(reads="q s")
def _write_errors(code: Code, ws: Dynamics, o: Whole, errors: Array) -> None:
    """Write row o of Sigma - W2 W1 to `errors`, several entries at a time, so that sums run at once."""
    sizes, q = code.sizes, ws.q
    target = ws.s[code.choose(code.below(o, sizes.m), o, 0)]
    for some in code.rows(0, sizes.rows_i):
        sums = [code.variable(code.choose(code.equal(i, o), target, 0.0)) for i in some]
        for h in code.columns(0, sizes.width):
            head = -q[sizes.rows_i + o, h]
            for i, each in zip(some, sums, strict=True):
                each.value = fma(head, q[i, h], each.value)
        for i, each in zip(some, sums, strict=True):
            errors[i] = each.value


@part(writes="outputs")
def no_drift(code: Code, ws: Dynamics) -> None:
    """Write 0, because the flow conserves the balance."""
    ws.outputs[Output.BALANCE_DRIFT] = 0.0


@part(reads="q q0", writes="outputs")
def _balance_drift(code: Code, ws: Dynamics) -> None:
    """Write |D(t) - D(0)|_F of D = W2^T W2 - W1 W1^T."""
    sizes, q, q0 = code.sizes, ws.q, ws.q0
    total = code.variable(0.0)
    for h in code.columns(0, sizes.width):
        for block in code.blocks(sizes.width):
            drifts = [code.variable(0.0) for _ in block]
            for first, last, sign in ((0, sizes.rows_i, -1.0), (sizes.rows_i, sizes.n, 1.0)):
                for i in code.loop(first, last):
                    for g, drift in zip(block, drifts, strict=True):
                        change = fma(q[i, h], q[i, g], -(q0[i, h] * q0[i, g]))
                        drift.value = fma(change, sign, drift.value)
            for drift in drifts:
                total.value = fma(drift.value, drift.value, total.value)
    ws.outputs[Output.BALANCE_DRIFT] = sqrt(total.value)


@part(reads="q", writes="product")
def _effective_rank(code: Code, ws: Dynamics) -> None:
    """Write exp of the entropy of the normalised singular values of W2 W1 (Roy & Vetterli 2007), or 0."""
    sizes, product = code.sizes, ws.product
    for o in code.loop(0, sizes.rows_o):
        for i in code.loop(0, sizes.rows_i):
            entry = code.variable(0.0)
            for h in code.columns(0, sizes.width):
                entry.value = fma(ws.q[sizes.rows_i + o, h], ws.q[i, h], entry.value)
            flag = sizes.more_rows_o
            product[code.choose(flag, o, i), code.choose(flag, i, o)] = entry.value
    write_rank(code, ws)


@part(reads="product values", writes="product values outputs")
def write_rank(code: Code, ws: Dynamics) -> None:
    """Write the effective rank of the map in `product`, which its singular vectors replace."""
    sizes, product = code.sizes, ws.product
    largest = code.variable(0.0)
    for row in code.loop(0, sizes.large):
        for column in code.loop(0, sizes.small):
            size = absolute(product[row, column])
            largest.value = select(size > largest.value, size, largest.value)
    # Squares of tiny entries would be 0, and the rank does not depend on the scale.
    scale = select(largest.value < _SMALL, _RAISED, 1.0)
    for row in code.loop(0, sizes.large):
        for column in code.loop(0, sizes.small):
            product[row, column] = scale * product[row, column]
    orthogonalise(code, product)
    column_norms(code, product, ws.values)
    total, entropy = code.variable(0.0), code.variable(0.0)
    for a in code.loop(0, sizes.small):
        total.value = total.value + ws.values[a]
    whole = select(total.value > 0.0, total.value, 1.0)
    for a in code.loop(0, sizes.small):
        share = ws.values[a] / whole
        positive = share > 1e-300
        entropy.value = fma(-select(positive, share, 0.0), log(select(positive, share, 1.0)), entropy.value)
    ws.outputs[Output.EFFECTIVE_RANK] = select(total.value > 0.0, exp(entropy.value), total.value)
