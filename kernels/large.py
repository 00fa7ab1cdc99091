"""The tier for large networks: one at a time, the algorithm of the lanes on BLAS and LAPACK.

Columns of K stand slowest direction first, the reverse of `echelon`: the lower triangles of `evolution` are
then the upper ones that LAPACK factors into. Columns of the start that are 0 (many, where the layers differ
in width) are left out. N and H are the rows and columns of Q that matter, m = min(N_i, N_o).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import blas, lapack

from fastlin.kernels.codes import Output, Status
from fastlin.kernels.compiler.jit import Array, Codes, Integers, jit
from fastlin.kernels.sizes import Record, Sizes
from fastlin.kernels.tolerances import BLOW_UP, EPSILON, LONGEST_STEP, MAX_ANGLE, ROUNDING
from fastlin.kernels.vector.balance import balanced_scales
from fastlin.kernels.vector.closed_form import Way, ways

# Columns that dtpqrt works on together; 8 to 32 take the same time within a fifth.
_BLOCK = 16
# Least |S - W2 W1|^2 / (|S|^2 + |W2 W1|^2) that is taken from Gram matrices: two digits are lost there.
_CANCELLING = 1e-2


class Start(NamedTuple):
    """A point (seed, lam) in the SVD basis of its task."""

    sizes: Sizes
    lam: float
    s: Array  # (m,)
    floor: float
    q: Array  # (N, H) Q(0), without the columns that are 0

    @property
    def layers(self) -> tuple[slice, slice]:
        """Rows of Q of W1^T and of W2."""
        return slice(0, self.sizes.rows_i), slice(self.sizes.rows_i, self.sizes.n)


def starts(sizes: Sizes, records: Array, lams: Array) -> Iterator[Start]:
    """Yield all points, seed by seed, from records (S, `Record`) and lams (L,)."""
    at = Record(sizes)
    for record in records:
        p = np.zeros(sizes.width)
        p[: sizes.k] = record[at.p : at.floor]
        v = record[at.v : at.u].reshape(sizes.rows_i, sizes.k_i)
        u = record[at.u : at.length].reshape(sizes.rows_o, sizes.k_o)
        for lam in lams:
            s1, s2 = balanced_scales(p, lam)
            q = np.zeros((sizes.n, sizes.width), order="F")
            np.multiply(v, s1[: sizes.k_i], out=q[: sizes.rows_i, : sizes.k_i])
            np.multiply(u, s2[: sizes.k_o], out=q[sizes.rows_i :, : sizes.k_o])
            # At least one, also of an empty network.
            live = np.flatnonzero(q.any(axis=0)) if q.any() else slice(1)
            yield Start(sizes, float(lam), record[: sizes.m], float(record[at.floor]), q[:, live])


class Basis:
    """The eigenvectors of F; see `eigenbasis`."""

    def __init__(self, start: Start) -> None:
        self._sizes = sizes = start.sizes
        half = 0.5 * start.lam
        r = np.hypot(start.s, half)
        scale = 0.5 / np.where(r > 0.0, r, 1.0)
        larger = np.sqrt(0.5 + abs(half) * scale)
        smaller = np.where(r > 0.0, start.s * scale / larger, larger)
        cosine, sine = (smaller, larger) if half >= 0.0 else (larger, smaller)
        self._cosine, self._sine = cosine[:, None], sine[:, None]
        rest = np.full(sizes.n - 2 * sizes.m, half if sizes.n_o > sizes.n_i else -half)
        self.w = np.concatenate([r, rest, -r[::-1]])  # (N,) falling
        self.lift = np.zeros(sizes.n)
        self.lift[: sizes.m] = start.s * (start.s / np.where(r > 0.0, r + abs(half), 1.0))
        self._planes = (slice(0, sizes.m), slice(sizes.rows_i, sizes.rows_i + sizes.m))
        self._beyond = slice(sizes.m + sizes.outside_shift, sizes.n - sizes.m + sizes.outside_shift)

    def into(self, q: Array) -> Array:
        """Return P^T Q (N, H)."""
        along_v, along_u = (q[rows] for rows in self._planes)
        plus = self._cosine * along_v + self._sine * along_u
        minus = self._cosine * along_u - self._sine * along_v
        return np.concatenate([plus, q[self._beyond], minus[::-1]])

    def out_of(self, k: Array, q: Array) -> None:
        """Write Q = P K."""
        m = self._sizes.m
        plus, minus = k[:m], k[: -m - 1 : -1]
        for rows, x, y in ((self._planes[0], plus, -self._sine), (self._planes[1], minus, self._sine)):
            np.multiply(self._cosine, x, out=q[rows])
            q[rows] += y * (minus if x is plus else plus)
        q[self._beyond] = k[m:-m]


def _noise(k: Array, m: int) -> Array:
    """Return the rounding errors (N,) of the rows of K, those of the planes that were rotated."""
    square = np.einsum("ih,ih->i", k, k)
    planes = square[:m] + square[: -m - 1 : -1]
    square[:m], square[: -m - 1 : -1] = planes, planes
    noise: Array = ROUNDING * np.sqrt(square)
    return noise


def _echelon(k: Array, m: int) -> tuple[Array, Integers]:
    """Return K (N, H) in lower echelon form, less columns that become 0, and their rows; see `echelon`."""
    noise, count = _noise(k, m), min(k.shape)
    rotated = np.triu(lapack.dgeqrf(np.array(k.T, order="F"), overwrite_a=True)[0])[:count].T
    top = np.abs(rotated[:count])
    pivots = top.diagonal()
    # No angle is above MAX_ANGLE, so this is the rule, or stricter.
    if (pivots > noise[:count] + MAX_ANGLE * (top.sum(axis=1) - pivots)).all():
        return rotated, np.arange(count)
    return _echelon_by_rows(k.copy(), noise)


def _echelon_by_rows(k: Array, noise: Array) -> tuple[Array, Integers]:
    """The same for any K, which is overwritten: rows that are noise beyond the columns so far take none."""
    angle, pivots = np.zeros(k.shape[1]), np.full(k.shape[1], len(k) - 1)
    h = 0
    for i, row in enumerate(k):
        if h == row.size:
            break
        free = row[h:].copy()
        norm, uncertain = np.linalg.norm(free), noise[i] + np.abs(row[:h]) @ angle[:h]
        row[h:] = 0.0
        if not norm > uncertain:
            continue
        row[h] = -np.copysign(norm, free[0])
        scale = 1.0 / (norm * (abs(free[0]) + norm))
        free[0] -= row[h]
        below = k[i + 1 :, h:]
        below -= np.outer(below @ (scale * free), free)
        angle[h], pivots[h] = min(uncertain / norm, MAX_ANGLE), i
        h += 1
    return k[:, : max(h, 1)], pivots[: max(h, 1)]


class Flow:
    """K(t) of one network, in `state`, from its start in `k`; see `evolution`."""

    def __init__(self, k: Array, basis: Basis, m: int) -> None:
        k, pivots = _echelon(k, m)
        self._w, self._rate = (w := basis.w), np.abs(basis.w)
        self._tie = 8.0 * w.size * EPSILON * basis.lift[0]
        self.growth, self.lead = np.maximum(w[pivots[::-1]], 0.0), basis.lift[pivots[::-1]]
        self.k = np.asfortranarray(k[:, ::-1])
        ahead = np.where((w > 0.0)[:, None], basis.lift[:, None] - self.lead, -self.growth)
        self._behind = np.asfortranarray(np.minimum(ahead, 0.0))
        self.state, self._stack = np.empty_like(self.k), np.empty_like(self.k)
        self._triangle = np.empty((self.growth.size, self.growth.size), order="F")
        self._diagonal = self._triangle.ravel(order="K")[:: self.growth.size + 1]

    def along(self, times: Array) -> Iterator[None]:
        """Bring the state to one time after the other."""
        way, dt = ways(times)
        short = 2.0 * self._w[0] * dt <= LONGEST_STEP
        power, root = np.exp(self._w * dt)[:, None], np.sqrt(self._rise(dt))[:, None] if short else None
        for t, how in zip(times, way, strict=True):
            if how == Way.MARCH and root is not None:
                self._march(power, root)
            else:
                self.jump(float(t))
            yield

    def jump(self, t: float) -> None:
        """Reach a time from the start, by a QR decomposition of [D; sqrt(phi) K D]."""
        state, still = self.state, self._rate == 0.0
        twice = 2.0 * np.where(still, 1.0, self._rate)
        if np.isinf(t):
            np.greater_equal(self._behind, -self._tie, out=state)
            scale, shrink = self.growth <= self._tie, self._w > 0.0
            saturation = np.where(still, 1.0, 1.0 / twice)
        else:
            np.multiply(self._behind, t, out=state)
            np.exp(state, out=state)
            scale, shrink = np.exp(-t * self.growth), np.exp(t * np.minimum(self._w, 0.0))
            saturation = np.where(still, t, -np.expm1(-t * twice) / twice)
        state *= self.k
        np.multiply(np.sqrt(saturation)[:, None], state, out=self._stack)
        state *= shrink[:, None]
        self._triangle.fill(0.0)
        self._diagonal[:] = scale
        lapack.dtpqrt(
            0, min(_BLOCK, scale.size), self._triangle, self._stack, overwrite_a=True, overwrite_b=True
        )
        self._divide()

    def _rise(self, dt: float) -> Array:
        """phi(dt) = expm1(2 w dt) / (2 w), dt where w = 0."""
        moving = self._w != 0.0
        twice = 2.0 * np.where(moving, self._w, 1.0)
        return np.where(moving, np.expm1(twice * dt) / twice, dt)

    def _march(self, power: Array, root: Array) -> None:
        """Go one step on, by a Cholesky decomposition."""
        np.multiply(root, self.state, out=self._stack)
        np.matmul(self._stack.T, self._stack, out=self._triangle.T)  # symmetric, and in order for NumPy
        self._diagonal += 1.0
        lapack.dpotrf(self._triangle, lower=False, clean=False, overwrite_a=True)
        self.state *= power
        self._divide()

    def _divide(self) -> None:
        blas.dtrsm(1.0, self._triangle, self.state, side=1, lower=0, overwrite_b=1)


class Observer:
    """Rows of `Output` of a Q (N, any width); see `observables`."""

    def __init__(self, start: Start, rows: Integers, drifts: bool) -> None:
        self._start, self._rows, self._drifts = start, [Output(row) for row in rows], drifts
        self._target = float(start.s @ start.s)
        self._product = np.empty((start.sizes.rows_o, start.sizes.rows_i))
        self._see(start.q)
        self._first = self._traces, self._norm(), self._imbalance()

    def observe(self, q: Array) -> list[Any]:
        """Return the rows of Q, NaN where it is not finite."""
        self._see(q)
        if not np.isfinite(self._traces).all():
            return [np.nan] * len(self._rows)
        make = {
            Output.LOSS: self._loss,
            Output.KERNEL_DISTANCE: self._kernel_distance,
            Output.NTK_NORM: self._norm,
            Output.W1_NORM: lambda: np.sqrt(self._traces[0]),
            Output.W2_NORM: lambda: np.sqrt(self._traces[1]),
            Output.BALANCE_DRIFT: self._drift,
            Output.EFFECTIVE_RANK: self._effective_rank,
        }
        return [make[row]() for row in self._rows]

    def _see(self, q: Array) -> None:
        self._layers = [q[rows] for rows in self._start.layers]
        self._grams = [x.T @ x for x in self._layers]
        self._traces = np.array([gram.trace() for gram in self._grams])

    def _loss(self) -> Any:
        """floor + |S - W2 W1|^2 / 2; from Gram matrices, in O(m H + H^2), where that does not cancel."""
        (x, y), s, m = self._layers, self._start.s, self._start.sizes.m
        whole = self._target + np.vdot(*self._grams)
        square = whole - 2.0 * (s @ np.einsum("ah,ah->a", x[:m], y[:m]))
        if not square > _CANCELLING * whole:
            np.matmul(y, x.T, out=self._product)
            diagonal = np.einsum("aa->a", self._product[:m, :m])
            diagonal -= s
            square = np.vdot(self._product, self._product)
        return self._start.floor + 0.5 * square

    def _norm(self) -> Any:
        square1, square2 = (np.vdot(gram, gram) for gram in self._grams)
        sizes = self._start.sizes
        return np.sqrt(sizes.n_o * square1 + sizes.n_i * square2 + 2.0 * self._traces.prod())

    def _kernel_distance(self) -> Any:
        sizes, (traces, norm, _) = self._start.sizes, self._first
        products = []
        for x, rows in zip(self._layers, self._start.layers, strict=True):
            cross = x.T @ self._start.q[rows]
            products.append(np.vdot(cross, cross))
        product = sizes.n_o * products[0] + sizes.n_i * products[1] + traces @ self._traces[::-1]
        # Written so that NaN stays NaN.
        return np.maximum(0.0, 1.0 - product / (norm * self._norm()))

    def _imbalance(self) -> Any:
        return self._grams[1] - self._grams[0]

    def _drift(self) -> Any:
        return np.linalg.norm(self._imbalance() - self._first[2]) if self._drifts else 0.0

    def _effective_rank(self) -> Any:
        """By the small triangles of both layers where these are tall: W2 W1 has their singular values."""
        first, second = (np.asarray(np.linalg.qr(x, "r")) if len(x) > x.shape[1] else x for x in self._layers)
        values = np.linalg.svd(second @ first.T, compute_uv=False)
        total = values.sum()
        share = values[values > 1e-300 * total] / total
        return np.exp(-(share @ np.log(share))) if total > 0.0 else total


def _health(rows: Array) -> Status:
    return Status.OK if np.isfinite(rows).all() else Status.FAILED


@np.errstate(all="ignore")
def closed_form(
    sizes: Sizes, records: Array, lam: Array, times: Array, rows: Integers, out: Array, status: Codes
) -> None:
    """Do what `closed_form.closed_form` does; points that only fill a vector are not written."""
    for point, start in enumerate(starts(sizes, records, lam)):
        basis, observer = Basis(start), Observer(start, rows, drifts=False)
        flow = Flow(basis.into(start.q), basis, sizes.m)
        q = np.empty_like(flow.state)
        for index, _ in enumerate(flow.along(times)):
            basis.out_of(flow.state, q)
            out[:, point, index] = observer.observe(q)
        status[point] = _health(out[:, point])


@np.errstate(all="ignore")
def follow(sizes: Sizes, lam: float, s: Array, q0: Array, times: Array) -> tuple[Array, ...]:
    """Return the parts of `Paths` of one given start q0 (N, H): Q(t) (T, N, H), and so on."""
    basis = Basis(Start(sizes, lam, s, 0.0, q0))
    flow = Flow(basis.into(q0), basis, sizes.m)
    path, growth, lead = np.zeros((times.size, *q0.shape)), np.zeros(q0.shape[1]), np.zeros(q0.shape[1])
    live = flow.growth.size
    growth[:live], lead[:live] = flow.growth[::-1], flow.lead[::-1]
    for q, t in zip(path, times, strict=True):
        flow.jump(float(t))
        basis.out_of(flow.state[:, ::-1], q[:, :live])
    return path, growth, lead, basis.w, basis.lift


@jit
def _descend(x: Array, y: Array, s: Array, rate: float, steps: int, by_gram: bool) -> None:
    """Step W1^T = x (rows_i, H) and W2 = y (rows_o, H) in place."""
    width = x.shape[1]
    dx, dy = np.empty(x.shape), np.empty(y.shape)
    left, right = np.empty((width, width)), np.empty((width, width))
    error = np.empty((0, 0) if by_gram else (len(y), len(x)))
    for _ in range(steps):
        if by_gram:  # W1 += eta (W2^T S - W2^T W2 W1), W2 += eta (S W1^T - W2 W1 W1^T)
            np.dot(x, np.dot(y.T, y, left), dx)
            np.dot(y, np.dot(x.T, x, right), dy)
            for a in range(s.size):
                for h in range(width):
                    dx[a, h] -= s[a] * y[a, h]
                    dy[a, h] -= s[a] * x[a, h]
        else:
            np.dot(y, x.T, error)
            for a in range(s.size):
                error[a, a] -= s[a]
            np.dot(error.T, y, dx)
            np.dot(error, x, dy)
        for change, layer in ((dx, x), (dy, y)):
            for i in range(layer.shape[0]):
                for h in range(width):
                    layer[i, h] -= rate * change[i, h]


@np.errstate(all="ignore")
def gradient_descent(
    sizes: Sizes,
    records: Array,
    lam: Array,
    learning_rate: float,
    steps: Integers,
    rows: Integers,
    out: Array,
    status: Codes,
) -> None:
    """Do what `gradient_descent.gradient_descent` does; points that only fill a vector are not written."""
    strides = np.diff(steps, prepend=0)
    for point, start in enumerate(starts(sizes, records, lam)):
        observer, q = Observer(start, rows, drifts=True), np.array(start.q, order="C")
        x, y = (q[layer] for layer in start.layers)
        bound = BLOW_UP * (np.vdot(q, q) + start.s.sum())
        by_gram = 2 * sizes.n * q.shape[1] < 3 * len(x) * len(y)  # 4 N H^2 flops against 6 N_i N_o H
        out[:, point], status[point] = np.nan, Status.DIVERGED
        for index, stride in enumerate(strides):
            _descend(x, y, start.s, float(learning_rate), int(stride), by_gram)
            if not np.vdot(q, q) <= bound:
                break
            out[:, point, index] = observer.observe(q)
        else:
            status[point] = _health(out[:, point])
