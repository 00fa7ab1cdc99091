"""Plain-NumPy reference: one network at a time, the paper's equations with their numbers.

Every fast path of the library is tested against this file, so it favours clarity over speed and
shares no code with the library. Notation: ``w1`` is W1 (N_h, N_i), ``w2`` is W2 (N_o, N_h),
``sigma_yx`` is Y X^T / P (N_o, N_i), N = N_i + N_o, m = min(N_i, N_o), Q = [W1, W2^T]^T (N, N_h);
rows of Q and of F are inputs first, then outputs. ``t`` is t / tau = learning_rate * step.
Closed forms hold for whitened inputs and weights with Q (W2^T W2 - W1 W1^T - lam I) = 0.
Where an equation was misprinted the corrected form is used; ``test_corrections`` has the evidence.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import solve_triangular

# ---------------------------------------------------------------- initialisation and tasks


def balanced_weights(u, p, v, lam, n_h, rotation=None):
    """Algorithm 1, corrected: lam-balanced (w1 (n_h, N_i), w2 (N_o, n_h)) from an SVD.

    ``u`` (N_o, N_o), ``p`` (m,), ``v`` (N_i, N_i) are the full SVD ``u diag(p) v^T`` of the
    unbalanced product, singular vectors in columns; ``rotation`` (n_h, n_h) is orthogonal.
    The hidden index i has an entry in W2 if i < N_o and in W1 if i < N_i, with s = 0 past m.
    """
    n_o, n_i = len(u), len(v)
    s2_matrix, s1_matrix = np.zeros((n_o, n_h)), np.zeros((n_h, n_i))
    for i in range(n_h):
        s = p[i] if i < len(p) else 0.0
        larger = math.sqrt((math.hypot(lam, 2 * s) + abs(lam)) / 2)
        smaller = s / larger if larger > 0 else 0.0  # their product is s: no difference of squares
        s2, s1 = (larger, smaller) if lam >= 0 else (smaller, larger)
        if i < n_o:
            s2_matrix[i, i] = s2
        if i < n_i:
            s1_matrix[i, i] = s1
    r = np.eye(n_h) if rotation is None else rotation
    return r @ s1_matrix @ v.T, u @ s2_matrix @ r.T


def random_balanced(rng, n_i, n_h, n_o, lam, init_scale=1.0):
    """Algorithm 1 from raw Gaussian weights of std ``init_scale`` and a random rotation."""
    w1 = init_scale * rng.standard_normal((n_h, n_i))
    w2 = init_scale * rng.standard_normal((n_o, n_h))
    u, p, vt = np.linalg.svd(w2 @ w1)
    rotation, r = np.linalg.qr(rng.standard_normal((n_h, n_h)))
    rotation = rotation * np.sign(np.diag(r))  # uniform over the orthogonal group
    return balanced_weights(u, p, vt.T, lam, n_h, rotation)


def random_task(rng, n_i, n_o, n_samples, target_scale):
    """B.2.1: x (n_i, P) with x x^T / P = I exactly, y (n_o, P) of std target_scale / sqrt(n_o)."""
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
    for i in range(len(singular), n_i):  # inputs the targets do not use
        values.append(-lam / 2)
        vectors.append(np.concatenate([vt[i], np.zeros(n_o)]))
    for i in range(len(singular), n_o):  # outputs the inputs do not reach
        values.append(lam / 2)
        vectors.append(np.concatenate([np.zeros(n_i), u[:, i]]))
    order = np.argsort(values)[::-1]
    return np.array(values)[order], np.array(vectors)[order].T


def growth_integral(w, t):
    """Eq 6: the integral of exp(2 w s) over 0 <= s <= t, (e^{2 w t} - 1) / (2 w), t at w = 0."""
    return t if w == 0 else math.expm1(2 * w * t) / (2 * w)


def theorem_a3(sigma_yx, w1, w2, lam, t):
    """Theorem A.3, Eq 10-13 and 20-21, corrected: QQ^T (N, N) at a moderate time t.

    B and C are (N_h, m); lam_perp is sgn(N_o - N_i) lam/2, and its term in Eq 13 carries
    (e^{2 lam_perp t} - 1) / (2 lam_perp). The exponentials overflow at late times.
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
    """Eq 2 stepped as a factor of QQ^T: the list of (w1, w2), each up to a hidden rotation.

    ``times`` ascend from 0 or later and are finite. Each step is Eq 2 over dt with
    2 r_max dt <= 8, so no exponential is large; K = P^T Q becomes e^{w dt} K C^{-T}, where
    C C^T = I + K^T diag((e^{2 w dt} - 1) / (2 w)) K.
    At a saddle the rounding of each step grows like e^{w t} and leaves it late; `any_time` stays.
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
    """Eq 2 by steps (see `march_weights`): QQ^T (T, N, N) at ascending, finite ``times``."""
    return np.array([qqt(*pair) for pair in march_weights(sigma_yx, w1, w2, lam, times)])


def lower_echelon(k):
    """Rotate the columns of ``k`` to lower echelon form: (k @ orthogonal, row of each pivot).

    Row by row the columns not yet fixed are reflected onto the first of them; a row in which they
    vanish to rounding (a rank deficit) gets no pivot. Columns that remain are zero and dropped.
    """
    k, pivots = k.copy(), []
    noise = 1e-12 * np.linalg.norm(k)  # small pivots above amplify rounding: seen up to 40-fold
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

    With K = P^T Q in lower echelon form (eigenvalues descending) column j grows no faster than
    its pivot row, e^{g_j t} with g_j = max(w_pivot, 0). That factor cancels between both ends of
    Eq 2, and the matrix to invert, E^2 + (sqrt(phi) K E)^T (sqrt(phi) K E) with E = diag(e^{-g t}),
    is only needed through the R of a QR decomposition of its stacked square root.
    """
    w, p = eigen_system(sigma_yx, lam)
    k, pivots = lower_echelon(p.T @ np.vstack([w1.T, w2]))
    if not pivots:
        return np.zeros_like(p)
    # growth_integral(w, t) = bounded * e^{2 max(w, 0) t}, as phi(w) = e^{2 w t} phi(-w).
    bounded = np.array([growth_integral(-abs(value), t) for value in w])
    evolved, stacked = np.zeros_like(k), np.zeros_like(k)
    shrink = np.zeros(len(pivots))
    for j, pivot in enumerate(pivots):
        growth = max(w[pivot], 0.0)
        below = slice(pivot, None)  # entries above the pivot are zero, those below grow less
        shrink[j] = math.exp(-growth * t)
        evolved[below, j] = k[below, j] * np.exp((w[below] - growth) * t)
        root_phi = np.sqrt(bounded[below]) * np.exp((np.maximum(w[below], 0.0) - growth) * t)
        stacked[below, j] = k[below, j] * root_phi
    r = np.linalg.qr(np.vstack([np.diag(shrink), stacked]), mode="r")
    half = p @ solve_triangular(r, evolved.T, trans="T").T
    return half @ half.T


def at_infinity(sigma_yx, w1, w2, lam):
    """Limit of Eq 2 for t -> infinity: QQ^T (N, N), the sum of 2 w p p^T over the modes reached.

    At generic weights these are the positive ones of the rank(Q) largest eigenvalues of F. If a
    repeated eigenvalue straddles that cut, the part of its eigenspace that the columns of K with
    pivots there span is reached; an eigenvalue without a pivot is not reached at all (a saddle).
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
    """Gradient flow on the weights by an ODE solver: the list of (w1, w2) at ascending times."""

    run = _integrate(sigma_yx, w1, w2, max(times), t_eval=times)
    return [(y[: w1.size].reshape(w1.shape), y[w1.size :].reshape(w2.shape)) for y in run.y.T]


def gradient_descent(sigma_yx, w1, w2, learning_rate, steps, sigma_xx=None):
    """Full-batch gradient descent, plain form, for any input correlation: the final (w1, w2)."""
    xx = np.eye(sigma_yx.shape[1]) if sigma_xx is None else sigma_xx
    for _ in range(steps):
        error = sigma_yx - w2 @ w1 @ xx
        w1, w2 = w1 + learning_rate * w2.T @ error, w2 + learning_rate * error @ w1.T
    return w1, w2


def gradient_descent_gram(sigma_yx, w1, w2, learning_rate, steps):
    """The same steps through the hidden Gram matrices (whitened inputs): the final (w1, w2)."""
    for _ in range(steps):
        step1 = w2.T @ sigma_yx - (w2.T @ w2) @ w1
        step2 = sigma_yx @ w1.T - w2 @ (w1 @ w1.T)
        w1, w2 = w1 + learning_rate * step1, w2 + learning_rate * step2
    return w1, w2


# ---------------------------------------------------------------- observables


def qqt(w1, w2):
    """Eq 1: QQ^T (N, N) of Q = [W1, W2^T]^T."""
    q = np.vstack([w1.T, w2])
    return q @ q.T


def balance(w1, w2):
    """A2, corrected: D = W2^T W2 - W1 W1^T (N_h, N_h), conserved by the flow."""
    return w2.T @ w2 - w1 @ w1.T


def loss(w1, w2, sigma_yx, sigma_yy_trace, sigma_xx=None):
    """Section 3: half the mean squared error, from the data's correlations."""
    product = w2 @ w1
    xx = np.eye(sigma_yx.shape[1]) if sigma_xx is None else sigma_xx
    quadratic = np.trace(product @ xx @ product.T)
    return sigma_yy_trace / 2 - np.trace(sigma_yx.T @ product) + quadratic / 2


def ntk(w1, w2, x):
    """Section 3: the dense neural tangent kernel (N_o P, N_o P) on the inputs x (N_i, P)."""
    return np.kron(np.eye(len(w2)), x.T @ w1.T @ w1 @ x) + np.kron(w2 @ w2.T, x.T @ x)


def kernel_distance(k0, kt):
    """B.4: S(t) = 1 - <K_0, K_t> / (|K_0| |K_t|) of two dense kernels."""
    return 1 - np.sum(k0 * kt) / (np.linalg.norm(k0) * np.linalg.norm(kt))


def rsm_input(w1, x):
    """Section 3: RSM_I = X^T W1^T W1 X (P, P)."""
    return x.T @ w1.T @ w1 @ x


def rsm_output(w2, y):
    """Section 3: RSM_O = Y^T (W2 W2^T)^+ Y (P, P), the rank read off W2, not off its square."""
    u, s, _ = np.linalg.svd(w2, full_matrices=False)
    kept = s > max(w2.shape) * np.finfo(float).eps * s[0]
    projected = u[:, kept].T @ y / s[kept, None]
    return projected.T @ projected


def effective_rank(w2w1):
    """Exp of the entropy of the normalised singular values (Roy & Vetterli 2007); 0 for zero."""
    s = np.linalg.svd(w2w1, compute_uv=False)
    if s.sum() == 0:
        return 0.0
    share = s[s > 0] / s.sum()
    return math.exp(-np.sum(share * np.log(share)))


# ---------------------------------------------------------------- time scales


def excess_loss(w2w1, sigma_yx, n_h):
    """The loss above the least that a map of rank ``n_h`` reaches (Eckart & Young 1936)."""
    dropped = np.linalg.svd(sigma_yx, compute_uv=False)[n_h:]
    return (np.sum((sigma_yx - w2w1) ** 2) - np.sum(dropped**2)) / 2


def convergence_time(sigma_yx, w1, w2, lam, fraction):
    """The first t by which ``fraction`` of the achievable drop in loss is done, by an ODE solver.

    The closed form only tells where the flow ends: a solver would leave a saddle by its rounding.
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
    # A Newton step, as the solver interpolates at a lower order than it steps; dL/dt = -|velocity|^2.
    a, b = flow_ode(sigma_yx, w1, w2, [event])[0]
    descent = sum(np.sum(part**2) for part in velocity(sigma_yx, a, b))
    return event + (excess_loss(b @ a, sigma_yx, n_h) - target) / descent


def rotation_time(singular, lam, n_i, n_h, n_o):
    """The slowest e-folding time of the turn towards the ``n_h`` fastest growing directions of F.

    The largest 1 / (w_a - w_b) of a <= N_h < b, w_a > 0 and w_a > w_b, of the eigenvalues of F as in
    Eq 7-8, falling, in decimals of 100 digits: no difference of two of them needs care.
    """
    with localcontext(prec=100):
        half = Decimal(lam) / 2
        radii = [(Decimal(s) ** 2 + half**2).sqrt() for s in map(float, singular)]
        outside = [half if n_o > n_i else -half] * abs(n_o - n_i)
        w = sorted([*radii, *outside, *(-r for r in radii)], reverse=True)
        gaps = [a - b for a in w[:n_h] for b in w[n_h:] if a > 0 and a > b]
        return float(1 / min(gaps)) if gaps else 0.0


def escape_times(sigma_yx, w1, w2, lam):
    """When each mode is half-way, (m,): x' = 2 w x - x^2 from x_0 reaches w (x: |K_a|^2, w = r_a).

    t_a = log(2 w / x_0 - 1) / (2 w); a row of K = P^T Q that is zero to rounding is never there.
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
