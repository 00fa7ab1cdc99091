"""Numbers per network and time, from the factor Q = [W1, W2^T]^T in the SVD basis of the task.

Whitened inputs throughout; the NTK is normalised by P, the number of samples. Only what the requested rows
need is compiled. Reductions of Q to fewer rows than units (see `Sizes`) leave all of these as they are.
"""

from typing import Any

from fastlin.kernels.codes import Row
from fastlin.kernels.functions import exp, log
from fastlin.kernels.lanes import fma, select, sqrt
from fastlin.kernels.singular import column_norms, orthogonalise


class Layer:
    """What norms and kernels need of the rows X of Q of one layer: tr X^T X, and squares of Gram matrices."""

    def __init__(self, code: Any, q: Any, rows: tuple[int, int], other: Any = None) -> None:
        width = code.sizes.width
        gram, cross = code.local(width, width), code.local(width, width)
        for h in code.columns(0, width):
            for g in code.columns(0, width):
                gram[h, g], cross[h, g] = 0.0, 0.0
        for i in code.loop(*rows):
            for h in code.columns(0, width):
                for g in code.columns(0, h + 1):
                    gram[h, g] = fma(q[i, h], q[i, g], gram[h, g])
                if other is not None:
                    for g in code.columns(0, width):
                        cross[h, g] = fma(q[i, h], other[i, g], cross[h, g])
        trace, square, product = (code.variable(0.0) for _ in range(3))
        for h in code.columns(0, width):
            trace.now = trace.now + gram[h, h]
            square.now = fma(gram[h, h], gram[h, h], square.now)
            for g in code.columns(0, h):
                square.now = fma(2.0 * gram[h, g], gram[h, g], square.now)
            for g in code.columns(0, width):
                product.now = fma(cross[h, g], cross[h, g], product.now)
        self.trace = trace.now  # |X|_F^2
        self.square = square.now  # |X X^T|_F^2 = |X^T X|_F^2
        self.product = product.now  # <X X^T, Y Y^T> = |X^T Y|_F^2 with Y of the other Q


class View:
    """Both layers of a Q, and the norm of its NTK; `other` is the Q that its kernel is compared with."""

    def __init__(self, code: Any, q: Any, other: Any = None) -> None:
        sizes = code.sizes
        self.inputs = Layer(code, q, (0, sizes.rows_i), other)
        self.outputs = Layer(code, q, (sizes.rows_i, sizes.n), other)
        # |K|^2 / P^2 = N_o |M|^2 + N_i |B|^2 + 2 tr M tr B, M = W1^T W1 and B = W2 W2^T; it follows from
        # K = I x X^T M X + B x X^T X for whitened X.
        traces = 2.0 * self.inputs.trace * self.outputs.trace
        self.norm = sqrt(fma(self.inputs.square, sizes.n_o, fma(self.outputs.square, sizes.n_i, traces)))


class Observer:
    """The rows that are asked for; what none of them needs is not compiled.

    `drifts` is False for the closed form, whose balance is conserved by construction and whose hidden
    basis turns with t.
    """

    def __init__(self, rows: tuple[int, ...], drifts: bool) -> None:
        self._rows, self._drifts = rows, drifts

    def begin(self, code: Any, room: Any) -> None:
        """Keep what is compared with, of the start in q0."""
        view = View(code, room.q0)
        room.start[0], room.start[1], room.start[2] = view.inputs.trace, view.outputs.trace, view.norm

    def observe(self, room: Any) -> None:
        """Write the rows of Q in q, each kind of work as a function of its own."""
        parts = {Row.LOSS: loss, Row.BALANCE_DRIFT: _balance_drift, Row.EFFECTIVE_RANK: _effective_rank}
        if not self._drifts:
            parts[Row.BALANCE_DRIFT] = _no_drift
        for row in self._rows:
            if row in parts:
                room.call(parts[Row(row)])
        if any(row not in parts for row in self._rows):
            room.call(self._norms)

    def _norms(self, code: Any, room: Any) -> None:
        view = View(code, room.q, room.q0 if Row.KERNEL_DISTANCE in self._rows else None)
        make = {
            Row.KERNEL_DISTANCE: lambda: _kernel_distance(code, room, view),
            Row.NTK_NORM: lambda: view.norm,
            Row.W1_NORM: lambda: sqrt(view.inputs.trace),
            Row.W2_NORM: lambda: sqrt(view.outputs.trace),
        }
        for row in self._rows:
            if row in make:
                room.rows[row] = make[Row(row)]()


def _kernel_distance(code: Any, room: Any, view: View) -> Any:
    """S = 1 - <K_0, K_t> / (|K_0| |K_t|); at least 0 by Cauchy-Schwarz, which rounding may miss."""
    first, second, norm = room.start[0], room.start[1], room.start[2]
    traces = fma(first, view.outputs.trace, view.inputs.trace * second)
    product = fma(view.outputs.product, code.sizes.n_i, traces)
    cosine = fma(view.inputs.product, code.sizes.n_o, product) / (norm * view.norm)
    # Written so that NaN stays NaN.
    return select(cosine > 1.0, 0.0, 1.0 - cosine)


def loss(code: Any, room: Any) -> None:
    """L = floor + |Sigma - W2 W1|^2 / 2: the printed form, without the cancellation near the minimum."""
    sizes, q = code.sizes, room.q
    before, at, after = (code.variable(0.0) for _ in range(3))  # three sums, so that none waits for itself

    def entries(total: Any, o: Any, inputs: Any, target: Any) -> None:
        for i in inputs:
            error = code.variable(target)
            for h in code.columns(0, sizes.width):
                error.now = fma(-q[sizes.rows_i + o, h], q[i, h], error.now)
            total.now = fma(error.now, error.now, total.now)

    for o in code.loop(0, sizes.m):
        entries(before, o, code.loop(0, o), 0.0)
        entries(at, o, [o], room.s[o])
        entries(after, o, code.loop(o + 1, sizes.rows_i), 0.0)
    for o in code.loop(sizes.m, sizes.rows_o):
        entries(before, o, code.loop(0, sizes.rows_i), 0.0)
    room.rows[Row.LOSS] = fma(before.now + at.now + after.now, 0.5, room.floor[()])


def _no_drift(code: Any, room: Any) -> None:
    """The flow conserves the balance."""
    room.rows[Row.BALANCE_DRIFT] = 0.0


def _balance_drift(code: Any, room: Any) -> None:
    """|D(t) - D(0)|_F of D = W2^T W2 - W1 W1^T."""
    sizes, q, q0 = code.sizes, room.q, room.q0
    total = code.variable(0.0)
    for h in code.columns(0, sizes.width):
        for g in code.columns(0, sizes.width):
            drift = code.variable(0.0)
            for first, last, sign in ((0, sizes.rows_i, -1.0), (sizes.rows_i, sizes.n, 1.0)):
                for i in code.loop(first, last):
                    change = fma(q[i, h], q[i, g], -(q0[i, h] * q0[i, g]))
                    drift.now = fma(change, sign, drift.now)
            total.now = fma(drift.now, drift.now, total.now)
    room.rows[Row.BALANCE_DRIFT] = sqrt(total.now)


def _effective_rank(code: Any, room: Any) -> None:
    """exp of the entropy of the normalised singular values of W2 W1 (Roy & Vetterli 2007); 0 if all are 0."""
    sizes, product = code.sizes, room.product
    for o in code.loop(0, sizes.rows_o):
        for i in code.loop(0, sizes.rows_i):
            entry = code.variable(0.0)
            for h in code.columns(0, sizes.width):
                entry.now = fma(room.q[sizes.rows_i + o, h], room.q[i, h], entry.now)
            product[(o, i) if sizes.rows_o >= sizes.rows_i else (i, o)] = entry.now
    orthogonalise(code, product)
    column_norms(code, product, room.values)
    total, entropy = code.variable(0.0), code.variable(0.0)
    for a in code.loop(0, sizes.small):
        total.now = total.now + room.values[a]
    whole = select(total.now > 0.0, total.now, 1.0)
    for a in code.loop(0, sizes.small):
        share = room.values[a] / whole
        positive = share > 1e-300
        entropy.now = fma(-select(positive, share, 0.0), log(select(positive, share, 1.0)), entropy.now)
    room.rows[Row.EFFECTIVE_RANK] = select(total.now > 0.0, exp(entropy.now), total.now)
