"""Plain-NumPy reference: one network at a time, the paper's equations with their numbers.

Every fast path of the library is tested against this file. So it favours clarity over speed, and shares no
code with the library.

Notation: ``w1`` is W1 (N_h, N_i), ``w2`` is W2 (N_o, N_h), ``sigma_yx`` is Y X^T / P (N_o, N_i), N = N_i +
N_o, m = min(N_i, N_o), and Q = [W1, W2^T]^T (N, N_h). The rows of Q and of F are inputs first, then outputs.
``t`` is t / tau = learning_rate * step. Closed forms hold for whitened inputs and weights with Q (W2^T W2 -
W1 W1^T - lam I) = 0. A misprinted equation is replaced by the corrected form. ``test_corrections`` has the
evidence.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import solve_triangular

# ---------------------------------------------------------------- initialisation and tasks


def balanced_weights(u, p, v, lam, n_h, rotation=None):
    """Algorithm 1, corrected: lam-balanced (w1 (n_h, N_i), w2 (N_o, n_h)) from an SVD.

    ``u`` (N_o, N_o), ``p`` (m,), ``v`` (N_i, N_i) are the full SVD ``u diag(p) v^T`` of the unbalanced
    product, with singular vectors in columns. ``rotation`` (n_h, n_h) is orthogonal. The hidden index i has
    an entry in W2 if i < N_o and in W1 if i < N_i, with s = 0 past m.
    """
    n_o, n_i = len(u), len(v)
    s2_matrix, s1_matrix = np.zeros((n_o, n_h)), np.zeros((n_h, n_i))
    for i in range(n_h):
        s = p[i] if i < len(p) else 0.0
        larger = math.sqrt((math.hypot(lam, 2 * s) + abs(lam)) / 2)
        smaller = s / larger if larger > 0 else 0.0  # their product is s, without a difference of squares
        s2, s1 = (larger, smaller) if lam >= 0 else (smaller, larger)
        if i < n_o:
            s2_matrix[i, i] = s2
        if i < n_i:
            s1_matrix[i, i] = s1
    r = np.eye(n_h) if rotation is None else rotation
    return r @ s1_matrix @ v.T, u @ s2_matrix @ r.T


def random_balanced(rng, n_i, n_h, n_o, lam, init_scale=1.0):
    """Return Algorithm 1 applied to raw Gaussian weights of std ``init_scale`` and a random rotation."""
    w1 = init_scale * rng.standard_normal((n_h, n_i))
    w2 = init_scale * rng.standard_normal((n_o, n_h))
    u, p, vt = np.linalg.svd(w2 @ w1)
    rotation, r = np.linalg.qr(rng.standard_normal((n_h, n_h)))
    rotation = rotation * np.sign(np.diag(r))  # uniform over the orthogonal group
    return balanced_weights(u, p, vt.T, lam, n_h, rotation)


def random_task(rng, n_i, n_o, n_samples, target_scale):
    """Draw x (n_i, P) with x x^T / P = I exactly, and y (n_o, P) of std target_scale / sqrt(n_o) (B.2.1)."""
    x = rng.standard_normal((n_i, n_samples))
    left, _, right = np.linalg.svd(x, full_matrices=False)
    x = math.sqrt(n_samples) * left @ right  # (x x^T / P)^(-1/2) x
    y = target_scale / math.sqrt(n_o) * rng.standard_normal((n_o, n_samples))
    return x, y


# ---------------------------------------------------------------- closed forms


def eigen_system(sigma_yx, lam):
    """Eq 7-8 (Lemma A.2) as angles: eigenvalues of F (N,), descending, and eigenvectors (N, N).

    ``F = [[-lam/2 I, Sigma^T], [Sigma, lam/2 I]]``, from the SVD of Sigma: each singular value s
    gives +r and -r, r = hypot(s, lam/2), in the plane of (v, 0) and (0, u).
    """
    n_o, n_i = sigma_yx.shape
    u, singular, vt = np.linalg.svd(sigma_yx)
    values, vectors = [], []
    for i, s in enumerate(singular):
        r = math.hypot(s, lam / 2)
        larger = math.sqrt((1 + abs(lam) / (2 * r)) / 2) if r > 0 else 1.0
        smaller = s / (2 * r * larger) if r > 0 else 0.0
        sin, cos = (larger, smaller) if lam >= 0 else (smaller, larger)
        values += [r, -r]
        vectors += [
            np.concatenate([cos * vt[i], sin * u[:, i]]),
            np.concatenate([sin * vt[i], -cos * u[:, i]]),
        ]
    for i in range(len(singular), n_i):  # inputs that the targets do not use
        values.append(-lam / 2)
        vectors.append(np.concatenate([vt[i], np.zeros(n_o)]))
    for i in range(len(singular), n_o):  # outputs that the inputs do not reach
        values.append(lam / 2)
        vectors.append(np.concatenate([np.zeros(n_i), u[:, i]]))
    order = np.argsort(values)[::-1]
    return np.array(values)[order], np.array(vectors)[order].T


def growth_integral(w, t):
    """Return the integral of exp(2 w s) over 0 <= s <= t (Eq 6): (e^{2 w t} - 1) / (2 w), or t at w = 0."""
    return t if w == 0 else math.expm1(2 * w * t) / (2 * w)


def theorem_a3(sigma_yx, w1, w2, lam, t):
    """Theorem A.3, Eq 10-13 and 20-21, corrected: QQ^T (N, N) at a moderate time t.

    B and C are (N_h, m). lam_perp is sgn(N_o - N_i) lam/2, and its term in Eq 13 has the factor (e^{2
    lam_perp t} - 1) / (2 lam_perp). The exponentials overflow at late times.
    """
    n_o, n_i = sigma_yx.shape
    m = min(n_i, n_o)
    u_full, s, vt_full = np.linalg.svd(sigma_yx)
    u, u_perp = u_full[:, :m], u_full[:, m:]
    v, v_perp = vt_full[:m].T, vt_full[m:].T
    s_lam = np.hypot(s, lam / 2)
    h = np.array([(lam / 2) / (a + b) if a + b > 0 else 0.0 for a, b in zip(s_lam, s, strict=True)])
    g = 1 / np.sqrt(1 + h**2)
    plus, minus = np.diag(g + h * g), np.diag(g - h * g)
    lam_perp = np.sign(n_o - n_i) * lam / 2

    b = w2.T @ u @ plus + w1 @ v @ minus
    c = w2.T @ u @ minus - w1 @ v @ plus
    grow, decay, grow_perp = np.diag(np.exp(s_lam * t)), np.diag(np.exp(-s_lam * t)), lam_perp * t
    z1 = (v @ minus @ grow @ b.T - v @ plus @ decay @ c.T) / 2
    z1 = z1 + math.exp(grow_perp) * v_perp @ v_perp.T @ w1.T
    z2 = (u @ plus @ grow @ b.T + u @ minus @ decay @ c.T) / 2
    z2 = z2 + math.exp(grow_perp) * u_perp @ u_perp.T @ w2

    a = np.eye(len(w1))
    a = a + b @ np.diag([growth_integral(value, t) / 2 for value in s_lam]) @ b.T
    a = a + c @ np.diag([growth_integral(-value, t) / 2 for value in s_lam]) @ c.T
    perp = w2.T @ u_perp @ u_perp.T @ w2 + w1 @ v_perp @ v_perp.T @ w1.T
    a = a + growth_integral(lam_perp, t) * perp
    z = np.vstack([z1, z2])
    return z @ np.linalg.solve(a, z.T)


def march_weights(sigma_yx, w1, w2, lam, times):
    """Step Eq 2 as a factor of QQ^T: the list of (w1, w2), each up to a hidden rotation.

    ``times`` ascend from 0 or later and are finite. Each step is Eq 2 over dt with 2 r_max dt <= 8, so that
    no exponential is large. A step replaces K = P^T Q by e^{w dt} K C^{-T}, where C C^T = I + K^T diag((e^{2
    w dt} - 1) / (2 w)) K. Near a saddle the rounding of each step grows like e^{w t}, so that the path leaves
    it late. `any_time` stays at the saddle.
    """
    n_i = sigma_yx.shape[1]
    w, p = eigen_system(sigma_yx, lam)
    k = p.T @ np.vstack([w1.T, w2])
    weights, now = [], 0.0
    for time in times:
        steps = math.ceil(2 * abs(w).max() * (time - now) / 8)
        for _ in range(max(steps, 1)):
            dt = (time - now) / max(steps, 1)
            phi = np.diag([growth_integral(value, dt) for value in w])
            c = np.linalg.cholesky(np.eye(k.shape[1]) + k.T @ phi @ k)
            k = solve_triangular(c, (np.diag(np.exp(w * dt)) @ k).T, lower=True).T
        now = time
        q = p @ k
        weights.append((q[:n_i].T, q[n_i:]))
    return weights


def march(sigma_yx, w1, w2, lam, times):
    """Step Eq 2 (see `march_weights`): QQ^T (T, N, N) at ascending, finite ``times``."""
    return np.array([qqt(*pair) for pair in march_weights(sigma_yx, w1, w2, lam, times)])


def lower_echelon(k):
    """Rotate the columns of ``k`` to lower echelon form: (k @ orthogonal, row of each pivot).

    In each row the columns that are not yet fixed are reflected onto the first of them. A row in which they
    vanish to rounding (a rank deficit) has no pivot. The remaining columns are zero and are dropped.
    """
    k, pivots = k.copy(), []
    noise = 1e-12 * np.linalg.norm(k)  # rounding is amplified up to 40-fold by small pivots above
    for row in range(len(k)):
        done = len(pivots)
        rest = k[row, done:].copy()
        length = np.linalg.norm(rest)
        if length > noise:
            rest[0] += math.copysign(length, rest[0])
            k[:, done:] -= np.outer(k[:, done:] @ rest, 2 * rest / (rest @ rest))
            pivots.append(row)
            k[row, done + 1 :] = 0.0
        else:
            k[row, done:] = 0.0
        if len(pivots) == k.shape[1]:
            break
    return k[:, : len(pivots)], pivots


def any_time(sigma_yx, w1, w2, lam, t):
    """Eq 2 at one finite time of any size without overflow: QQ^T (N, N).

    K = P^T Q is in lower echelon form (eigenvalues descending). Column j then grows no faster than its pivot
    row, e^{g_j t} with g_j = max(w_pivot, 0). That factor cancels between both ends of Eq 2. The matrix to
    invert is E^2 + (sqrt(phi) K E)^T (sqrt(phi) K E) with E = diag(e^{-g t}). Only the R of a QR
    decomposition of its stacked square root is needed.
    """
    w, p = eigen_system(sigma_yx, lam)
    k, pivots = lower_echelon(p.T @ np.vstack([w1.T, w2]))
    if not pivots:
        return np.zeros_like(p)
    # growth_integral(w, t) = bounded * e^{2 max(w, 0) t}, because phi(w) = e^{2 w t} phi(-w).
    bounded = np.array([growth_integral(-abs(value), t) for value in w])
    evolved, stacked = np.zeros_like(k), np.zeros_like(k)
    shrink = np.zeros(len(pivots))
    for j, pivot in enumerate(pivots):
        growth = max(w[pivot], 0.0)
        below = slice(pivot, None)  # entries above the pivot are zero, and those below it grow less
        shrink[j] = math.exp(-growth * t)
        evolved[below, j] = k[below, j] * np.exp((w[below] - growth) * t)
        root_phi = np.sqrt(bounded[below]) * np.exp((np.maximum(w[below], 0.0) - growth) * t)
        stacked[below, j] = k[below, j] * root_phi
    r = np.linalg.qr(np.vstack([np.diag(shrink), stacked]), mode="r")
    half = p @ solve_triangular(r, evolved.T, trans="T").T
    return half @ half.T


def at_infinity(sigma_yx, w1, w2, lam):
    """Limit of Eq 2 for t -> infinity: QQ^T (N, N), the sum of 2 w p p^T over the modes reached.

    At generic weights the flow reaches the positive eigenvalues among the rank(Q) largest of F. If a repeated
    eigenvalue straddles that cut, the part of its eigenspace is reached that is spanned by the columns of K
    with pivots there. An eigenvalue without a pivot is not reached (a saddle).
    """
    w, p = eigen_system(sigma_yx, lam)
    k, pivots = lower_echelon(p.T @ np.vstack([w1.T, w2]))
    limit, tie = np.zeros_like(p), 1e-13 * w[0]
    start = 0
    while start < len(w) and w[start] > tie:
        group = [i for i in range(start, len(w)) if w[start] - w[i] <= tie]
        reached = [j for j, pivot in enumerate(pivots) if pivot in group]
        basis, _ = np.linalg.qr(k[np.ix_(group, reached)])
        modes = p[:, group] @ basis
        limit += 2 * w[start] * modes @ modes.T
        start = group[-1] + 1
    return limit


# ---------------------------------------------------------------- the dynamics themselves


def velocity(sigma_yx, w1, w2):
    """Gradient flow down the loss of whitened inputs: (dW1/dt, dW2/dt)."""
    error = sigma_yx - w2 @ w1
    return w2.T @ error, error @ w1.T


def _integrate(sigma_yx, w1, w2, end, **options):
    """Integrate the flow of the flat weights [w1, w2] to the time ``end``."""

    def slope(_, flat):
        pair = flat[: w1.size].reshape(w1.shape), flat[w1.size :].reshape(w2.shape)
        return np.concatenate([part.ravel() for part in velocity(sigma_yx, *pair)])

    start = np.concatenate([w1.ravel(), w2.ravel()])
    return solve_ivp(slope, (0.0, end), start, "DOP853", rtol=1e-12, atol=1e-13, **options)


def flow_ode(sigma_yx, w1, w2, times):
    """Integrate the gradient flow by an ODE solver: the list of (w1, w2) at ascending times."""

    run = _integrate(sigma_yx, w1, w2, max(times), t_eval=times)
    return [(y[: w1.size].reshape(w1.shape), y[w1.size :].reshape(w2.shape)) for y in run.y.T]


def gradient_descent(sigma_yx, w1, w2, learning_rate, steps, sigma_xx=None, decay=0.0):
    """Take full-batch steps in plain form, for any input correlation: the final (w1, w2).

    ``learning_rate`` and ``decay`` are numbers, or pairs of one number for each layer.
    """
    xx = np.eye(sigma_yx.shape[1]) if sigma_xx is None else sigma_xx
    (rate1, rate2), (decay1, decay2) = np.broadcast_to(learning_rate, 2), np.broadcast_to(decay, 2)
    for _ in range(steps):
        error = sigma_yx - w2 @ w1 @ xx
        w1, w2 = w1 + rate1 * (w2.T @ error - decay1 * w1), w2 + rate2 * (error @ w1.T - decay2 * w2)
    return w1, w2


def gradient_descent_gram(sigma_yx, w1, w2, learning_rate, steps):
    """Take the same steps through the hidden Gram matrices (whitened inputs): the final (w1, w2)."""
    for _ in range(steps):
        step1 = w2.T @ sigma_yx - (w2.T @ w2) @ w1
        step2 = sigma_yx @ w1.T - w2 @ (w1 @ w1.T)
        w1, w2 = w1 + learning_rate * step1, w2 + learning_rate * step2
    return w1, w2


# ---------------------------------------------------------------- observables


def qqt(w1, w2):
    """Return QQ^T (N, N) of Q = [W1, W2^T]^T (Eq 1)."""
    q = np.vstack([w1.T, w2])
    return q @ q.T


def balance(w1, w2):
    """Return D = W2^T W2 - W1 W1^T (N_h, N_h), which the flow conserves (A2, corrected)."""
    return w2.T @ w2 - w1 @ w1.T


def loss(w1, w2, sigma_yx, sigma_yy_trace, sigma_xx=None):
    """Return half the mean squared error, from the data's correlations (Section 3)."""
    product = w2 @ w1
    xx = np.eye(sigma_yx.shape[1]) if sigma_xx is None else sigma_xx
    quadratic = np.trace(product @ xx @ product.T)
    return sigma_yy_trace / 2 - np.trace(sigma_yx.T @ product) + quadratic / 2


def ntk(w1, w2, x):
    """Return the dense neural tangent kernel (N_o P, N_o P) on the inputs x (N_i, P) (Section 3)."""
    return np.kron(np.eye(len(w2)), x.T @ w1.T @ w1 @ x) + np.kron(w2 @ w2.T, x.T @ x)


def kernel_distance(k0, kt):
    """Return S(t) = 1 - <K_0, K_t> / (|K_0| |K_t|) of two dense kernels (B.4)."""
    return 1 - np.sum(k0 * kt) / (np.linalg.norm(k0) * np.linalg.norm(kt))


def rsm_input(w1, x):
    """Return RSM_I = X^T W1^T W1 X (P, P) (Section 3)."""
    return x.T @ w1.T @ w1 @ x


def rsm_output(w2, y):
    """Return RSM_O = Y^T (W2 W2^T)^+ Y (P, P) (Section 3).

    The rank is determined from W2, because that of W2 W2^T is lost to rounding.
    """
    u, s, _ = np.linalg.svd(w2, full_matrices=False)
    significant = s > max(w2.shape) * np.finfo(float).eps * s[0]
    projected = u[:, significant].T @ y / s[significant, None]
    return projected.T @ projected


def effective_rank(w2w1):
    """Return exp of the entropy of the normalised singular values, or 0 for a zero matrix.

    The definition is that of Roy & Vetterli (2007).
    """
    s = np.linalg.svd(w2w1, compute_uv=False)
    if s.sum() == 0:
        return 0.0
    share = s[s > 0] / s.sum()
    return math.exp(-np.sum(share * np.log(share)))


# ---------------------------------------------------------------- time scales


def excess_loss(w2w1, sigma_yx, n_h):
    """Return the loss above the least that a map of rank ``n_h`` reaches (Eckart & Young 1936)."""
    dropped = np.linalg.svd(sigma_yx, compute_uv=False)[n_h:]
    return (np.sum((sigma_yx - w2w1) ** 2) - np.sum(dropped**2)) / 2


def convergence_time(sigma_yx, w1, w2, lam, fraction):
    """Return the first t by which ``fraction`` of the achievable drop in loss is done, by an ODE solver.

    The closed form is used only to find where the flow ends, because a solver would leave a saddle by its
    rounding.
    """
    n_i, n_h = w1.shape[1], len(w1)
    target = (1 - fraction) * excess_loss(w2 @ w1, sigma_yx, n_h)
    if excess_loss(at_infinity(sigma_yx, w1, w2, lam)[n_i:, :n_i], sigma_yx, n_h) >= target:
        return math.inf

    def above_target(_, flat):
        product = flat[w1.size :].reshape(w2.shape) @ flat[: w1.size].reshape(w1.shape)
        return excess_loss(product, sigma_yx, n_h) - target

    above_target.terminal = True
    (event,) = _integrate(sigma_yx, w1, w2, 1e6, events=above_target).t_events[0]
    # A Newton step with dL/dt = -|velocity|^2, because the solver interpolates at a lower order than it
    # steps.
    a, b = flow_ode(sigma_yx, w1, w2, [event])[0]
    descent = sum(np.sum(part**2) for part in velocity(sigma_yx, a, b))
    return event + (excess_loss(b @ a, sigma_yx, n_h) - target) / descent


def rotation_time(singular, lam, n_i, n_h, n_o):
    """Return the slowest e-folding time of the turn towards the ``n_h`` fastest growing directions of F.

    It is the largest 1 / (w_a - w_b) for a <= N_h < b, w_a > 0 and w_a > w_b. The w are the eigenvalues of F
    (Eq 7-8) in descending order. They are decimals of 100 digits, so that their differences lose nothing.
    """
    with localcontext(prec=100):
        half = Decimal(lam) / 2
        radii = [(Decimal(s) ** 2 + half**2).sqrt() for s in map(float, singular)]
        outside = [half if n_o > n_i else -half] * abs(n_o - n_i)
        w = sorted([*radii, *outside, *(-r for r in radii)], reverse=True)
        gaps = [a - b for a in w[:n_h] for b in w[n_h:] if a > 0 and a > b]
        return float(1 / min(gaps)) if gaps else 0.0


def escape_times(sigma_yx, w1, w2, lam):
    """Return the time (m,) at which each mode is half-way to its limit.

    x' = 2 w x - x^2 reaches w from x_0, where x is |K_a|^2 and w is r_a: t_a = log(2 w / x_0 - 1) / (2 w).
    The time is infinite for a row of K = P^T Q that is zero to rounding.
    """
    m = min(sigma_yx.shape)
    w, p = eigen_system(sigma_yx, lam)
    k = p.T @ np.vstack([w1.T, w2])
    sizes = np.linalg.norm(k, axis=1)[:m]
    times = np.full(m, math.inf)
    for a in np.flatnonzero((w[:m] > 0) & (sizes > 1e-12 * np.linalg.norm(k))):
        ratio = w[a] / sizes[a] ** 2
        times[a] = math.log(2 * ratio - 1) / (2 * w[a]) if ratio > 1 else 0.0
    return times
