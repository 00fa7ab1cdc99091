"""The exact solution with two-sided balance of many networks at any times: outputs from blocks of QQ^T."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastlin.kernels.batch import VECTORS, Batch, kappas_of
from fastlin.kernels.codes import Output
from fastlin.kernels.compiler.arithmetic import fma, select, sqrt
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array, Call, jit
from fastlin.kernels.compiler.memory import Memory as Lanes
from fastlin.kernels.compiler.memory import Numbers
from fastlin.kernels.compiler.protocols import Array as Values
from fastlin.kernels.compiler.protocols import Code, Number, Variable, Whole
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH, Index
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.sizes import WIDEST_UNROLLED, Sizes
from fastlin.kernels.vector.closed_form import finish, record
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.observables import kernel_distance, no_drift, ntk_norm, write_rank
from fastlin.kernels.vector.points import Points, over_points
from fastlin.kernels.vector.two_sided import TwoSided, begin_two_sided, jump_two_sided, two_sided_point


class _Layer:
    """Trace and square of the block of M of one layer, and its product with that of the start."""

    def __init__(self, code: Code, rows: tuple[Whole, Whole], now: Values, start: Values) -> None:
        trace, square, product = (code.variable(0.0) for _ in range(3))
        for i in code.loop(*rows):
            entry = now[i, i]
            trace.value = trace.value + entry
            square.value = fma(entry, entry, square.value)
            product.value = fma(entry, start[i, i], product.value)
            for j in code.loop(rows[0], i):
                entry = now[i, j]
                twice = 2.0 * entry
                square.value = fma(twice, entry, square.value)
                product.value = fma(twice, start[i, j], product.value)
        self.trace, self.square, self.product = trace.value, square.value, product.value


class _View:
    """Both layers, and the norm of the NTK (see `observables.View`)."""

    def __init__(self, code: Code, now: Values, start: Values) -> None:
        sizes = code.sizes
        self.inputs = _Layer(code, (0, sizes.n_i), now, start)
        self.outputs = _Layer(code, (sizes.n_i, sizes.n), now, start)
        self.spread = code.real(sizes.n_i)
        self.norm = ntk_norm(code, self)


@part(reads="qqt", writes="start qqt_start")
def observe_two_sided_start(code: Code, ws: TwoSided) -> None:
    """Keep M(0) and its norms."""
    view = _View(code, ws.qqt, ws.qqt)
    ws.start[0], ws.start[1], ws.start[2] = view.inputs.trace, view.outputs.trace, view.norm
    ws.qqt_start.fill(ws.qqt)


class TwoSidedObserver:
    """The observer of the requested outputs."""

    def __init__(self, outputs: tuple[int, ...]) -> None:
        self._outputs = outputs

    def observe(self, code: Code, ws: TwoSided) -> None:
        """Write the outputs of M in qqt. Each kind of output is computed in a separate function."""
        parts: dict[int, Callable[..., None]] = {
            Output.LOSS: _loss,
            Output.BALANCE_DRIFT: no_drift,
            Output.EFFECTIVE_RANK: _effective_rank,
        }
        for output in self._outputs:
            if output in parts:
                ws.call(code, parts[output])
        if any(output not in parts for output in self._outputs):
            ws.call(code, self._norms)

    def _norms(self, code: Code, ws: TwoSided) -> None:
        _write_norms(code, ws, self._outputs)


@part(reads="qqt s floor", writes="outputs")
def _loss(code: Code, ws: TwoSided) -> None:
    """Write floor + |Sigma - W2 W1|^2 / 2."""
    sizes, qqt = code.sizes, ws.qqt
    before, at, after = (code.variable(0.0) for _ in range(3))  # three sums, so that none waits for itself

    def add(total: Variable, o: Whole, first: Whole, last: Whole) -> None:
        for i in code.loop(first, last):
            entry = qqt[sizes.n_i + o, i]
            total.value = fma(entry, entry, total.value)

    for o in code.loop(0, sizes.m):
        add(before, o, 0, o)
        error = ws.s[o] - qqt[sizes.n_i + o, o]
        at.value = fma(error, error, at.value)
        add(after, o, o + 1, sizes.n_i)
    for o in code.loop(sizes.m, sizes.n_o):
        add(before, o, 0, sizes.n_i)
    ws.outputs[Output.LOSS] = fma(before.value + at.value + after.value, 0.5, ws.floor[()])


@part(reads="qqt qqt_start start", writes="outputs")
def _write_norms(code: Code, ws: TwoSided, outputs: tuple[int, ...]) -> None:
    view = _View(code, ws.qqt, ws.qqt_start)
    make: dict[int, Callable[[], Number]] = {
        Output.KERNEL_DISTANCE: lambda: kernel_distance(code, ws.start, view),
        Output.NTK_NORM: lambda: view.norm,
        Output.W1_NORM: lambda: _root(view.inputs.trace),
        Output.W2_NORM: lambda: _root(view.outputs.trace),
    }
    for output in outputs:
        if output in make:
            ws.outputs[output] = make[output]()


def _root(trace: Number) -> Number:
    """Return the norm of a layer. Where it is nearly 0, rounding must not make its square negative."""
    root: Number = sqrt(select(trace < 0.0, 0.0, trace))
    return root


@part(reads="qqt", writes="product")
def _effective_rank(code: Code, ws: TwoSided) -> None:
    """Write the effective rank of W2 W1."""
    sizes, flag = code.sizes, code.sizes.more_rows_o
    for o in code.loop(0, sizes.n_o):
        for i in code.loop(0, sizes.n_i):
            ws.product[code.choose(flag, o, i), code.choose(flag, i, o)] = ws.qqt[sizes.n_i + o, i]
    write_rank(code, ws)


@part(writes="nonfinite time")
def _start(code: VectorCode, ws: TwoSided, points: Points, vector: Index) -> None:
    """Bring a vector of points to t = 0."""
    two_sided_point(code, ws, points.lam(vector), points.kappa(vector), points.records(vector))
    ws.call(code, begin_two_sided)
    ws.time[()] = 0.0
    jump_two_sided(code, ws)
    ws.call(code, observe_two_sided_start)
    ws.nonfinite[()] = 0.0


@traced()
def _solve(code: VectorCode, outputs: tuple[int, ...], work: Numbers, batch: Batch, kappa: Numbers) -> None:
    """Solve all points at all times, `VECTORS` vectors in turn, and write their outputs."""
    observer, times = TwoSidedObserver(outputs), batch.times.shape[0]

    def vectors() -> Iterator[tuple[Index, TwoSided]]:
        for vector in code.loop(0, VECTORS):
            yield vector, TwoSided.open(code, work.at(vector * TwoSided.doubles(code.sizes)))

    for points in over_points(code, batch, VECTORS, kappa):
        for vector, ws in vectors():
            _start(code, ws, points, vector)
        with code.flushing():  # G decays to 0
            for index in code.loop(0, times):
                for vector, ws in vectors():
                    ws.time[()] = batch.times[index]
                    jump_two_sided(code, ws)
                    observer.observe(code, ws)
                    record(code, ws, outputs, points, vector, index)
        for vector, ws in vectors():
            finish(code, ws, outputs, points, vector, times)


@jit
def _closed_form(sizes: Form, outputs: CompileTime, work: Array, batch: Batch, kappa: Array) -> None:
    _solve(sizes, outputs, work, batch, kappa)


def prepare(
    sizes: Sizes, outputs: tuple[int, ...], batch: Batch, kappa: float | Array, specialise: bool
) -> Call:
    """Return the call that solves all points (see `dispatch.closed_form`)."""
    whole = sizes.two_sided
    compiled_for, work = form(whole, TwoSided, specialise=specialise), TwoSided.allocate(whole, VECTORS)
    return Call(_closed_form, (compiled_for, CompileTime(outputs), work, batch, kappas_of(batch, kappa)))


def nanoseconds(sizes: Sizes, times: Array) -> Array:
    """Estimate the time of one network at all times on one core, with loss and kernel distance.

    The constants were fitted to 19 architectures of 2 to 88 units, and on BLAS to 6 of up to 160, on an Intel
    Xeon with AVX-512. Estimates are within a third of the measured times.
    """
    n, unrolled = sizes.units, sizes.units <= WIDEST_UNROLLED
    start = np.where(unrolled, 100.0 + 24.0 * n, 350.0 + 0.18 * n**3)
    jump = np.where(unrolled, 7.0 + 1.2 * n + 0.042 * n**3, 40.0 + 3.5 * n + 0.042 * n**3)
    by_blas = 2000.0 + 200.0 * n + 0.13 * n**3
    total: Array = np.where(sizes.two_sided.fits_lanes, start + times.size * jump, (1 + times.size) * by_blas)
    return total


@traced(lam="", kappa="", s="m", q0="n width")
def _follow_vector(
    code: VectorCode,
    work: Numbers,
    lam: Lanes,
    kappa: Lanes,
    s: Lanes,
    q0: Lanes,
    times: Numbers,
    qqt: Numbers,
) -> None:
    """Write M of one vector of networks at all times, from given starts."""
    sizes, ws = code.sizes, TwoSided.open(code, work)
    ws.lam[()], ws.kappa[()] = lam[()], kappa[()]
    ws.s.fill(s)
    ws.q0.fill(q0)
    ws.call(code, begin_two_sided)
    for index in code.loop(0, times.shape[0]):
        ws.time[()] = times[index]
        jump_two_sided(code, ws)
        out = qqt.vectors(index * (sizes.n * sizes.n), ws.qqt.shape)
        for i in code.loop(0, sizes.n):
            for j in code.loop(0, i + 1):
                out[i, j] = ws.qqt[i, j]
                out[j, i] = ws.qqt[i, j]


@jit
def _follow(
    sizes: Form, work: Array, lam: Array, kappa: Array, s: Array, q0: Array, times: Array, qqt: Array
) -> None:
    for group in range(len(lam)):
        _follow_vector(sizes, work, lam[group], kappa[group], s[group], q0[group], times, qqt[group])


def follow(sizes: Sizes, lam: Array, kappa: Array, s: Array, q0: Array, times: Array) -> Array:
    """Return QQ^T of networks with given starts (see `dispatch.follow_two_sided`)."""
    whole = sizes.two_sided
    qqt = np.empty((len(lam), times.size, whole.n, whole.n, WIDTH))
    work = TwoSided.allocate(whole)
    _follow(form(whole, TwoSided), work, lam, kappa, s, q0, times, qqt)
    return qqt
