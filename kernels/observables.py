"""Numbers per network and time, from the factor Q = [W1, W2^T]^T in the SVD basis of the task.

Legend: q (N, H, L), rows 0..N_i-1 are W1^T and the rest W2; s (m, L); results (L,).
Whitened inputs throughout; the NTK is normalised by P, the number of samples.
"""

import math

import numpy as np

from fastlin.kernels.codes import Row, Status
from fastlin.kernels.jit import Array, Codes, Integers, jit
from fastlin.kernels.linear_algebra import singular_values


@jit
def _frobenius(q: Array, first: int, last: int, out: Array) -> None:
    """out += sum of squares of rows first..last-1 of q."""
    for i in range(first, last):
        for h in range(q.shape[1]):
            for lane in range(q.shape[2]):
                out[lane] += q[i, h, lane] ** 2


@jit
def _product_square(x: Array, y: Array, first: int, last: int, scale: Array, out: Array) -> None:
    """out += |scale X^T Y|_F^2 over rows first..last-1; equal to scale^2 <X X^T, Y Y^T>."""
    entry = np.empty(x.shape[2])
    for h in range(x.shape[1]):
        for g in range(y.shape[1]):
            entry[:] = 0.0
            for i in range(first, last):
                for lane in range(entry.size):
                    entry[lane] += x[i, h, lane] * y[i, g, lane]
            for lane in range(entry.size):
                out[lane] += (scale[lane] * entry[lane]) ** 2


@jit
def _ntk_product(x: Array, y: Array, x_norms: Array, y_norms: Array, n_i: int, out: Array) -> None:
    """out = <K, K'> / (P^2 t t'), t = |W1|^2 + |W2|^2 of each, so that no scale of weights overflows.

    K = I x X^T M X + B x X^T X with whitened X gives
    ``<K, K'>/P^2 = N_o <M, M'> + N_i <B, B'> + tr M tr B' + tr M' tr B``.
    """
    n = x.shape[0]
    n_o = n - n_i
    inner_m, inner_b = np.zeros(x.shape[2]), np.zeros(x.shape[2])
    scale = np.empty(x.shape[2])
    for lane in range(scale.size):
        scale[lane] = 1.0 / (math.sqrt(x_norms[2, lane]) * math.sqrt(y_norms[2, lane]))
    _product_square(x, y, 0, n_i, scale, inner_m)
    _product_square(x, y, n_i, n, scale, inner_b)
    for lane in range(scale.size):
        m1, b1 = x_norms[0, lane] / x_norms[2, lane], x_norms[1, lane] / x_norms[2, lane]
        m2, b2 = y_norms[0, lane] / y_norms[2, lane], y_norms[1, lane] / y_norms[2, lane]
        out[lane] = n_o * inner_m[lane] + n_i * inner_b[lane] + m1 * b2 + m2 * b1


@jit
def _norms(q: Array, n_i: int) -> Array:
    """Return (4, L): |W1|_F^2, |W2|_F^2, their sum, and room for the scaled square norm of the NTK."""
    norms = np.zeros((4, q.shape[2]))
    _frobenius(q, 0, n_i, norms[0])
    _frobenius(q, n_i, q.shape[0], norms[1])
    norms[2] = norms[0] + norms[1]
    return norms


@jit
def start_norms(q0: Array, n_i: int) -> Array:
    """Return what `observe` needs of the start: squared norms of W1, W2, both, and of the scaled NTK."""
    norms = _norms(q0, n_i)
    _ntk_product(q0, q0, norms, norms, n_i, norms[3])
    return norms


@jit
def _loss(q: Array, s: Array, floor: float, n_i: int, out: Array) -> None:
    """L = floor + |Sigma - W2 W1|^2 / 2: the printed form, without the cancellation near the minimum."""
    n, width, lanes = q.shape
    error = np.empty(lanes)
    out[:] = 0.0
    for o in range(n - n_i):
        for i in range(n_i):
            error[:] = 0.0
            if o == i:
                error[:] = s[i]
            for h in range(width):
                for lane in range(lanes):
                    error[lane] -= q[n_i + o, h, lane] * q[i, h, lane]
            for lane in range(lanes):
                out[lane] += error[lane] ** 2
    for lane in range(lanes):
        out[lane] = floor + 0.5 * out[lane]


@jit
def _kernel_distance(q: Array, q0: Array, norms: Array, norms0: Array, n_i: int, out: Array) -> None:
    """S = 1 - <K_0, K_t> / (|K_0| |K_t|); at least 0 by Cauchy-Schwarz, which rounding may miss."""
    _ntk_product(q0, q, norms0, norms, n_i, out)
    for lane in range(out.size):
        cosine = out[lane] / (math.sqrt(norms0[3, lane]) * math.sqrt(norms[3, lane]))
        # Written so that NaN stays NaN.
        out[lane] = 0.0 if cosine > 1.0 else 1.0 - cosine


@jit
def _balance_drift(q: Array, q0: Array, n_i: int, out: Array) -> None:
    """|D(t) - D(0)|_F of D = W2^T W2 - W1 W1^T."""
    n, width, lanes = q.shape
    drift = np.empty(lanes)
    out[:] = 0.0
    for h in range(width):
        for g in range(width):
            drift[:] = 0.0
            for i in range(n):
                sign = -1.0 if i < n_i else 1.0
                for lane in range(lanes):
                    now, then = q[i, h, lane] * q[i, g, lane], q0[i, h, lane] * q0[i, g, lane]
                    drift[lane] += sign * (now - then)
            for lane in range(lanes):
                out[lane] += drift[lane] ** 2
    for lane in range(lanes):
        out[lane] = math.sqrt(out[lane])


@jit
def _effective_rank(q: Array, n_i: int, out: Array) -> None:
    """exp of the entropy of the normalised singular values of W2 W1 (Roy & Vetterli 2007); 0 if all are 0."""
    n, width, lanes = q.shape
    n_o = n - n_i
    rows, columns = max(n_i, n_o), min(n_i, n_o)
    product, values = np.empty((rows, columns)), np.empty(columns)
    for lane in range(lanes):
        for o in range(n_o):
            for i in range(n_i):
                entry = 0.0
                for h in range(width):
                    entry += q[n_i + o, h, lane] * q[i, h, lane]
                if n_o >= n_i:
                    product[o, i] = entry
                else:
                    product[i, o] = entry
        singular_values(product, values)
        total, entropy = values.sum(), 0.0
        for value in values:
            if value > 0.0:
                entropy -= value / total * math.log(value / total)
        out[lane] = math.exp(entropy) if total > 0.0 else total


@jit
def observe(
    q: Array,
    q0: Array,
    norms0: Array,
    s: Array,
    floor: float,
    n_i: int,
    drifts: bool,
    rows: Integers,
    out: Array,
    status: Codes,
) -> None:
    """Write one time's numbers into out (R, L), and FAILED into status (L,) where one is not finite.

    norms0 comes from `start_norms(q0)`; `drifts` is False for the closed form, whose balance is
    conserved by construction and whose hidden basis turns with t.
    """
    norms = _norms(q, n_i)
    _ntk_product(q, q, norms, norms, n_i, norms[3])
    for index in range(rows.size):
        row, target = rows[index], out[index]
        if row == Row.LOSS:
            _loss(q, s, floor, n_i, target)
        elif row == Row.KERNEL_DISTANCE:
            _kernel_distance(q, q0, norms, norms0, n_i, target)
        elif row == Row.NTK_NORM:
            target[:] = np.sqrt(norms[3]) * norms[2]
        elif row == Row.W1_NORM:
            target[:] = np.sqrt(norms[0])
        elif row == Row.W2_NORM:
            target[:] = np.sqrt(norms[1])
        elif row == Row.BALANCE_DRIFT:
            target[:] = 0.0
            if drifts:
                _balance_drift(q, q0, n_i, target)
        elif row == Row.EFFECTIVE_RANK:
            _effective_rank(q, n_i, target)
        for lane in range(status.size):
            if status[lane] == Status.OK and not math.isfinite(target[lane]):
                status[lane] = Status.FAILED
