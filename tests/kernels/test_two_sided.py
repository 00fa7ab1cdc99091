"""The exact solution with two-sided balance: in lanes, on BLAS, and against solvers and high precision."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlin.kernels import (
    Output,
    Record,
    Scale,
    Sizes,
    Status,
    dispatch,
    draw_records,
    empty_batch,
    network_time_scales,
    two_sided_scales,
)
from fastlin.kernels.blas import two_sided_dynamics as blas
from fastlin.kernels.codes import Start
from fastlin.kernels.compilation import Kernel, distinct
from fastlin.kernels.compiler.plain import Plain
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.sizes import SizesOfMany
from fastlin.kernels.vector import two_sided
from fastlin.kernels.vector import two_sided_closed_form as lanes
from tests import reference
from tests.kernels.test_dispatch import literal
from tests.networks import problem, relative

DATA = json.loads((Path(__file__).parents[1] / "data" / "beyond_reference.json").read_text())
OUTPUTS = tuple(map(int, Output))
LAMS = np.array([-60.0, -2.0, 0.0, 1.3])
TIMES = np.array([0.0, 0.3, 2.0, 7.0, 90.0, 1e6, np.inf])
SHAPES = [(4, 8, 4), (3, 9, 5), (6, 8, 2), (5, 12, 6)]
SEEDS = np.arange(3)


def records(shape, seeds=SEEDS):
    return draw_records(Sizes(*shape), np.asarray(seeds), problem("gaussian", max(9, shape[0]), 1.5, 0.9))


def closed_form(shape, problems, lams, times, kappa, outputs=OUTPUTS, prepare=None, **options):
    """Return the outputs (R, S, L, T) of the closed form, and the status (S, L)."""
    lams, times = np.asarray(lams, dtype=float), np.asarray(times, dtype=float)
    batch = empty_batch(problems, lams, times, len(outputs))
    if prepare is None:
        dispatch.closed_form(Sizes(*shape), outputs, batch, kappa=kappa, **options)
    else:
        prepare(Sizes(*shape), outputs, batch, kappa, **options)()
    grid = (len(problems), lams.size)
    points = grid[0] * grid[1]
    return batch.outputs[:, :points].reshape(-1, *grid, times.size), batch.status[:points].reshape(grid)


def start(n_i, n_o, lam, kappa, p, v, u):
    """Return Q(0) (N, N) in the SVD basis: every mode has two hidden directions, and every other unit one."""
    n, m = n_i + n_o, min(n_i, n_o)
    q = np.zeros((n, n))
    alone = np.sqrt(np.hypot(lam / 2, kappa) + abs(lam) / 2)
    for h in range(max(n_i, n_o)):
        b, c, d = two_sided_scales(p[h] if h < m else 0.0, lam, kappa)
        inputs, outputs = (c, b) if lam >= 0.0 else (b, c)
        if h < m:
            q[:n_i, h], q[n_i:, h] = inputs * v[:, h], outputs * u[:, h]
            second = slice(0, n_i) if lam >= 0.0 else slice(n_i, n)
            q[second, n - 1 - h] = d * (v if lam >= 0.0 else u)[:, h]
        elif n_i > n_o:
            q[:n_i, h] = (kappa / alone if lam >= 0.0 else alone) * v[:, h]
        else:
            q[n_i:, h] = (alone if lam >= 0.0 else kappa / alone) * u[:, h]
    return q


def start_of(shape, record, lam, kappa):
    """Return the weights of a `Record`, and the target, in the SVD basis of the task."""
    (n_i, _, n_o), at = shape, Record(Sizes(*shape))
    m = min(n_i, n_o)
    v, u = record[at.v : at.u].reshape(n_i, n_i), record[at.u :].reshape(n_o, n_o)
    q = start(n_i, n_o, lam, kappa, record[at.p : at.p + m], v, u)
    target = np.zeros((n_o, n_i))
    target[:m, :m] = np.diag(record[:m])
    return target, q[:n_i].T, q[n_i:]


def follow(n_i, n_o, lam, kappa, s, q0, times):
    """Return QQ^T (T, N, N) of a given start in the SVD basis."""
    lam, kappa, s, q0 = (np.asarray(x, dtype=float) for x in (lam, kappa, s, q0))
    filled = (np.repeat(x[None, ..., None], WIDTH, axis=-1) for x in (lam, kappa, s, q0))
    sizes = Sizes(n_i, n_i + n_o, n_o).unreduced
    return dispatch.follow_two_sided(sizes, *filled, np.asarray(times, dtype=float))[0, ..., 0]


def orthogonal(rng, size):
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def random_start(rng, n_i, n_o, lam, kappa):
    m = min(n_i, n_o)
    s, p = np.sort(rng.random((2, m)) * [[3.0], [1.0]])[:, ::-1]
    return s, start(n_i, n_o, lam, kappa, p, orthogonal(rng, n_i), orthogonal(rng, n_o))


# ---------------------------------------------------------------- the solution is right


def test_stored_values_of_two_sided_balance():
    case = DATA["two_sided"]
    sigma_yx, w1, w2 = (np.array(case[name]) for name in ("sigma_yx", "w1", "w2"))
    u, s, vt = np.linalg.svd(sigma_yx)
    basis = np.block([[vt.T, np.zeros((3, 2))], [np.zeros((2, 3)), u]])
    q0 = basis.T @ np.vstack([w1.T, w2])
    paths = follow(3, 2, case["lam"], case["kappa2"] ** 0.5, s, q0, [*case["times"], np.inf])
    expected = [*case["qqt"], case["qqt_limit"]]
    for path, qqt in zip(paths, expected, strict=True):
        assert relative(basis @ path @ basis.T, np.array(qqt)) < 1e-12


def test_stored_values_of_a_zero_product():
    case = DATA["two_sided_hand"]
    q0 = np.vstack([np.array(case["w1"]).T, case["w2"]])
    paths = follow(2, 2, 0.0, 1.0, [2.0, 0.5], q0, case["times"])
    products = paths[:, [2, 3], [0, 1]]
    assert np.allclose(products, case["w2w1_diagonal"], rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_are_those_of_the_flow_of_the_weights(shape):
    problems, times, kappa, samples = records(shape, [0]), [0.0, 0.4, 3.0], 0.7, 12
    out, status = closed_form(shape, problems, LAMS[1:], times, kappa)
    assert (status == Status.OK).all()
    inputs = samples**0.5 * orthogonal(np.random.default_rng(0), samples)[: shape[0]]
    for index, lam in enumerate(LAMS[1:]):
        target, *weights = start_of(shape, problems[0], lam, kappa)
        floor = problems[0, Record(Sizes(*shape)).floor]
        task = SimpleNamespace(X=inputs, sigma_yx=target, sigma_yy_trace=2.0 * floor + np.sum(target**2))
        for k, pair in enumerate(reference.flow_ode(target, *weights, times)):
            for row, value in literal(task, weights, *pair).items():
                assert out[row, 0, index, k] == pytest.approx(value, rel=1e-10, abs=1e-11), (row, lam, k)
    assert not out[Output.BALANCE_DRIFT].any()


@pytest.mark.parametrize("lam", [-2.0, 0.0, 1.3])
@pytest.mark.parametrize("units", [(4, 4), (5, 3), (2, 6), (7, 4)], ids=str)
def test_both_laws_of_conservation_hold(units, lam):
    """M J M + lam M = kappa^2 J, from the start to t = inf, with alpha and beta of any size."""
    n_i, n_o = units
    s, q0 = random_start(np.random.default_rng(3), n_i, n_o, lam, 0.3)
    signs = np.diag([1.0] * n_i + [-1.0] * n_o)
    for qqt in follow(n_i, n_o, lam, 0.3, s, q0, TIMES):
        left = qqt @ signs @ qqt + lam * qqt - 0.09 * signs
        assert np.abs(left).max() < 1e-14 * max(1.0, np.linalg.norm(qqt) ** 2)


@settings(max_examples=30, deadline=None)
@given(
    units=st.sampled_from([(4, 4), (5, 3), (2, 6)]),
    lam=st.floats(-20.0, 20.0),
    kappa=st.floats(1e-3, 3.0),
    times=st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 3.0)),
    seed=st.integers(0, 10**6),
)
def test_two_jumps_are_one(units, lam, kappa, times, seed):
    first, second = times
    s, q0 = random_start(np.random.default_rng(seed), *units, lam, kappa)
    between, there = follow(*units, lam, kappa, s, q0, [first, first + second])
    again = follow(*units, lam, kappa, s, np.linalg.cholesky(between), [second])[0]
    # A Cholesky factor has an error of 1e-16 |M|, of which the least eigenvalue of M may be a small part.
    assert relative(again, there) < 1e-15 * np.linalg.cond(between) + 1e-12


@pytest.mark.parametrize("shape", [(4, 8, 4), (6, 8, 2), (5, 12, 6)], ids=str)
def test_small_kappa_is_one_sided_balance(shape):
    lams, times, problems = [-5.0, -0.3, 0.4, 8.0], [0.0, 0.5, 2.0, 6.0], records(shape)
    small, _ = closed_form(shape, problems, lams, times, 1e-13)
    none, _ = closed_form(shape, problems, lams, times, 0.0)
    assert np.allclose(small, none, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kappa", [1.0, 1e-6])
def test_late_times_are_the_limit(kappa):
    shape, problems = (4, 9, 4), records((4, 9, 4))
    out, status = closed_form(shape, problems, LAMS, [1e5, 1e300, np.inf], kappa)
    assert (status == Status.OK).all()
    assert np.allclose(out, out[..., 2:], rtol=1e-14, atol=1e-14)
    s, q0 = random_start(np.random.default_rng(1), 4, 3, 1.3, kappa)
    limit = follow(4, 3, 1.3, kappa, s, q0, [np.inf])[0]
    rates, vectors = reference.eigen_system(np.pad(np.diag(s), ((0, 0), (0, 1))), 1.3)
    expected = (vectors * (np.hypot(rates, kappa) + rates)) @ vectors.T
    assert relative(limit, expected) < 1e-14


# ---------------------------------------------------------------- small alpha and beta


def high_precision(n_i, n_o, lam, kappa, s, q0, t):
    """Return M(t) = p + G (h + (K K^T)^-1)^-1 G in the SVD basis, to 60 digits, of a given start."""
    with mpmath.workdps(60):
        n, m, lam, kappa, t = n_i + n_o, min(n_i, n_o), *map(mpmath.mpf, (lam, kappa, t))
        f = mpmath.zeros(n)
        for i in range(n):
            f[i, i] = -lam / 2 if i < n_i else lam / 2
        for a in range(m):
            f[a, n_i + a] = f[n_i + a, a] = mpmath.mpf(float(s[a]))
        w, p = mpmath.eigsy(f)
        om = [mpmath.sqrt(rate**2 + kappa**2) for rate in w]
        z = [mpmath.cosh(o * t) - rate / o * mpmath.sinh(o * t) for o, rate in zip(om, w, strict=True)]
        h = [mpmath.sinh(o * t) / (o * each) for o, each in zip(om, z, strict=True)]
        g = mpmath.diag([1 / each for each in z])
        k = p.T * mpmath.matrix(q0.tolist())
        solved = g * k * (mpmath.eye(n) + k.T * mpmath.diag(h) * k) ** -1 * (g * k).T
        qqt = p * (mpmath.diag([kappa**2 * each for each in h]) + solved) * p.T
        return np.array(qqt.tolist(), dtype=float)


@pytest.mark.parametrize("lam", [0.0, 1.3, -40.0])
@pytest.mark.parametrize("kappa", [1e-4, 1e-12])
def test_small_alpha_and_beta_lose_no_digits(kappa, lam):
    s, q0 = random_start(np.random.default_rng(5), 3, 2, lam, kappa)
    times = [0.4, 3.0, 12.0, 40.0]
    for qqt, t in zip(follow(3, 2, lam, kappa, s, q0, times), times, strict=True):
        assert relative(qqt, high_precision(3, 2, lam, kappa, s, q0, t)) < 1e-12


def tilted(tilt):
    """Return s, and the start of a product whose weakest mode is nearly the strongest mode of the task."""
    rng = np.random.default_rng(3)
    turned = np.linalg.qr(np.eye(3)[::-1] + tilt * rng.standard_normal((3, 3)))[0]
    return np.array([1.1, 1.05, 1.0]), start(3, 3, 0.0, 1e-10, [1.0, 0.5, 1e-10], turned, turned)


def test_reflections_keep_the_digits_that_elimination_loses(monkeypatch):
    (s, q0), times = tilted(1e-5), [9.0, 12.0, 16.0]
    expected = [high_precision(3, 3, 0.0, 1e-10, s, q0, t) for t in times]
    for path in (
        follow(3, 3, 0.0, 1e-10, s, q0, times),
        blas.follow(Sizes(3, 6, 3), 0.0, 1e-10, s, q0, np.array(times)),
        plain_follow(3, 3, 0.0, 1e-10, s, q0, times),
    ):
        assert max(map(relative, path, expected)) < 1e-11
    monkeypatch.setattr(two_sided, "LEAST_PIVOT", 0.0)
    assert max(map(relative, plain_follow(3, 3, 0.0, 1e-10, s, q0, times), expected)) > 1e-9


def plain_follow(n_i, n_o, lam, kappa, s, q0, times):
    """Return QQ^T (T, N, N) of the traced functions on NumPy arrays."""
    sizes = Sizes(n_i, n_i + n_o, n_o).two_sided
    code, ws = Plain(lambda value: np.full(WIDTH, value), sizes), two_sided.TwoSided.plain(sizes)
    ws.lam[()], ws.kappa[()] = lam, kappa
    for a in range(sizes.m):
        ws.s[a] = s[a]
    for place in np.ndindex(q0.shape):
        ws.q0[place] = q0[place]
    two_sided.begin_two_sided(code, ws)
    paths = []
    for t in times:
        ws.time[()] = np.full(WIDTH, t)
        two_sided.jump_two_sided(code, ws)
        lower = np.tril(ws.qqt.values[..., 0])
        paths.append(lower + np.tril(lower, -1).T)
    return paths


# ---------------------------------------------------------------- all forms of the kernel agree


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@np.errstate(all="ignore")
def test_kernel_on_arrays_is_that_on_lanes(shape):
    sizes, problems, kappa = Sizes(*shape).two_sided, records(shape, range(WIDTH)), 0.7
    code, ws = Plain(lambda value: np.full(WIDTH, value), sizes), two_sided.TwoSided.plain(sizes)
    expected, _ = closed_form(shape, problems, [-1.5], TIMES, kappa)
    two_sided.two_sided_point(code, ws, np.full(WIDTH, -1.5), np.full(WIDTH, kappa), problems.T)
    two_sided.begin_two_sided(code, ws)
    ws.time[()] = np.zeros(WIDTH)
    two_sided.jump_two_sided(code, ws)
    lanes.observe_two_sided_start(code, ws)
    observer = lanes.TwoSidedObserver(OUTPUTS)
    for index, time in enumerate(TIMES):
        ws.time[()] = np.full(WIDTH, time)
        two_sided.jump_two_sided(code, ws)
        observer.observe(code, ws)
        plain = [ws.outputs[output] for output in OUTPUTS]
        assert np.allclose(plain, expected[:, :, 0, index], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kappa", [1.0, 1e-6])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_blas_is_lanes(shape, kappa):
    problems = records(shape)
    by_lanes, status = closed_form(shape, problems, LAMS, TIMES, kappa)
    by_blas, blas_status = closed_form(shape, problems, LAMS, TIMES, kappa, prepare=blas.prepare_closed_form)
    assert (status == Status.OK).all() and (blas_status == Status.OK).all()
    assert np.allclose(by_blas, by_lanes, rtol=1e-10, atol=1e-11)


def test_large_networks_go_through_blas(monkeypatch):
    shape, problems = (4, 8, 4), records((4, 8, 4))
    lam, s, q0 = 0.4, *random_start(np.random.default_rng(2), 4, 4, 0.4, 0.5)
    by_lanes, _ = closed_form(shape, problems, LAMS, TIMES, 0.5)
    path = follow(4, 4, lam, 0.5, s, q0, TIMES)
    monkeypatch.setattr(type(Sizes(*shape).two_sided), "fits_lanes", False)
    by_blas, _ = closed_form(shape, problems, LAMS, TIMES, 0.5)
    assert not np.array_equal(by_blas, by_lanes)
    assert np.allclose(by_blas, by_lanes, rtol=1e-11, atol=1e-12)
    assert relative(follow(4, 4, lam, 0.5, s, q0, TIMES), path) < 1e-13


@pytest.mark.parametrize("shape", [(4, 8, 4), pytest.param((5, 12, 6), marks=pytest.mark.slow)], ids=str)
def test_both_forms_give_the_same_bits(shape):
    problems = records(shape)
    loaded, _ = closed_form(shape, problems, LAMS, TIMES, 0.3)
    specialised, _ = closed_form(shape, problems, LAMS, TIMES, 0.3, specialise=True)
    assert loaded.tobytes() == specialised.tobytes()


@pytest.mark.parametrize("kappa", [0.5, 1e-10])
@pytest.mark.parametrize("shape", [(4, 8, 4), (3, 6, 3), (5, 12, 6)], ids=str)
def test_points_are_independent(shape, kappa):
    """The bits of a point do not depend on its neighbours, also where one of them needs reflections."""
    problems = records(shape, range(5))
    if shape == (3, 6, 3):
        problems[2] = tilted_record()
    lams, times = np.linspace(-3.0, 3.0, 5), np.linspace(0.0, 12.0, 9)
    together, _ = closed_form(shape, problems, lams, times, kappa)
    for seed, index in np.ndindex(5, lams.size):
        alone, _ = closed_form(shape, problems[seed : seed + 1], lams[[index]], times, kappa)
        assert np.array_equal(alone[:, 0, 0], together[:, seed, index])
    for k, time in enumerate(times):
        alone, _ = closed_form(shape, problems, lams, [time], kappa)
        assert np.array_equal(alone[..., 0], together[..., k])


def tilted_record():
    """Return the record of `tilted`, whose elimination cancels at lam = 0 and kappa = 1e-10."""
    s, q0 = tilted(1e-5)
    turned = q0[:3, :3] / np.linalg.norm(q0[:3, :3], axis=0)
    return np.concatenate([s, [1.0, 0.5, 1e-10], [0.0], turned.ravel(), turned.ravel()])


def test_one_kernel_serves_all_architectures_of_n_units():
    closed_form((4, 8, 4), records((4, 8, 4)), LAMS, TIMES, 0.3)
    closed_form((5, 12, 6), records((5, 12, 6)), LAMS, TIMES, 0.3)
    before = len(lanes._closed_form.signatures)
    for shape in [(2, 8, 6), (5, 30, 3), (10, 25, 4)]:
        closed_form(shape, records(shape), LAMS, TIMES, 0.3)
    assert len(lanes._closed_form.signatures) == before


def test_kernels_are_known_before_they_run():
    wide = [
        Sizes(n_i, n_i + n_o + more, n_o) for n_i in range(1, 9) for n_o in range(1, 9) for more in (0, 7)
    ]
    two_sided_of = partial(Kernel, "closed_form", detail=OUTPUTS, start=Start.TWO_SIDED)
    kernels = [two_sided_of(sizes) for sizes in wide]
    assert len(distinct(kernels)) == 8  # N = 2 .. 8, and all others
    assert {kernel.tier for kernel in kernels} == {"vector"}
    assert two_sided_of(Sizes(90, 300, 90)).tier == "blas"
    assert Kernel("time_scales", Sizes(4, 8, 4), (0,), start=Start.TWO_SIDED).tier == "blas"
    closed_form((4, 8, 4), records((4, 8, 4)), LAMS, TIMES, 0.3)
    assert two_sided_of(Sizes(2, 9, 6)).call().compiled


def test_estimates_grow_with_the_work():
    sizes = SizesOfMany(np.array([[1, 2, 1], [4, 8, 4], [10, 20, 10], [40, 80, 40], [80, 160, 80]]))
    few, many = (lanes.nanoseconds(sizes, np.zeros(count)) for count in (1, 100))
    assert (np.diff(few) > 0).all() and (many > 5 * few).all()
    assert (np.diff(blas.nanoseconds(sizes)) > 0).all()
    one = lanes.nanoseconds(Sizes(4, 8, 4), np.zeros(100))
    assert one == many[1]


def test_kernels_on_blas_hold_no_lock():
    for kernel in (blas._solve_points, blas._follow, blas._convergence_of_points):
        assert kernel.targetoptions["nogil"]


# ---------------------------------------------------------------- time scales, and what is refused


def convergence(shape, problems, lams, kappa, fraction):
    batch = empty_batch(problems, np.asarray(lams), np.empty(0), 1)
    dispatch.time_scales(Sizes(*shape), (int(Scale.CONVERGENCE),), batch, fraction, kappa=kappa)
    points = len(problems) * len(lams)
    assert (batch.status[:points] == Status.OK).all()
    return batch.outputs[0, :points, 0].reshape(len(problems), len(lams))


@pytest.mark.parametrize("fraction", [0.01, 0.9, 1 - 1e-9])
@pytest.mark.parametrize("kappa", [2.0, 1e-8])
def test_the_loss_has_fallen_by_the_fraction_at_convergence(kappa, fraction):
    shape, problems = (4, 9, 3), records((4, 9, 3))
    at = Record(Sizes(*shape)).floor
    problems[:, at] = 0.0
    for (seed, index), time in np.ndenumerate(convergence(shape, problems, LAMS, kappa, fraction)):
        out, _ = closed_form(shape, problems[[seed]], LAMS[[index]], [0.0, time], kappa, (Output.LOSS,))
        first, then = out[0, 0, 0]
        assert then == pytest.approx((1.0 - fraction) * first, rel=1e-9)


def test_convergence_for_small_kappa_is_that_of_one_sided_balance():
    shape, problems = (4, 9, 3), records((4, 9, 3))
    lams = [-3.0, 0.5, 20.0]
    small = convergence(shape, problems, lams, 1e-12, 0.9)
    assert np.allclose(small, convergence(shape, problems, lams, 0.0, 0.9), rtol=1e-11)


def test_convergence_of_a_given_start():
    shape, problems = (4, 9, 3), records((4, 9, 3))
    times = convergence(shape, problems, LAMS, 0.6, 0.5)
    for (seed, index), time in np.ndenumerate(times):
        _, w1, w2 = start_of(shape, problems[seed], LAMS[index], 0.6)
        q0, s = np.vstack([w1.T, w2]), problems[seed, :3]
        sizes = Sizes(4, 7, 3).unreduced
        (one,) = network_time_scales(sizes, LAMS[index], s, q0, 0.5, [Scale.CONVERGENCE], kappa=0.6)
        assert one == pytest.approx(time, rel=1e-12)


def test_a_network_at_rest_has_converged():
    s, q0 = random_start(np.random.default_rng(4), 3, 2, 0.7, 0.5)
    end = np.linalg.cholesky(follow(3, 2, 0.7, 0.5, s, q0, [np.inf])[0])
    sizes = Sizes(3, 5, 2).unreduced
    assert network_time_scales(sizes, 0.7, s, end, 0.5, [Scale.CONVERGENCE], kappa=0.5) == [0.0]


@pytest.mark.parametrize("prepare", [None, blas.prepare_closed_form], ids=["lanes", "blas"])
def test_a_point_that_is_not_finite_is_failed_alone(prepare):
    problems = records((4, 8, 4))
    problems[1, 2] = np.nan
    out, status = closed_form((4, 8, 4), problems, LAMS, TIMES, 0.5, prepare=prepare)
    assert (status[1] == Status.FAILED).all() and (status[[0, 2]] == Status.OK).all()
    assert np.isfinite(out[:, [0, 2]]).all()


def test_no_network_of_two_sided_balance_is_narrower_than_n():
    batch = empty_batch(records((4, 7, 4)), LAMS, TIMES, 1)
    with pytest.raises(ValueError, match="N_h = 7 is too narrow: kappa > 0 needs N_h >= N_i \\+ N_o = 8"):
        dispatch.closed_form(Sizes(4, 7, 4), (0,), batch, kappa=0.5)


def test_other_time_scales_are_refused():
    batch = empty_batch(records((4, 8, 4)), LAMS, np.empty(0), 2)
    with pytest.raises(ValueError, match=r"scales \(0, 2\) are not \(0,\)"):
        dispatch.time_scales(Sizes(4, 8, 4), (0, 2), batch, 0.5, kappa=0.5)
