"""The flow by DOP853: one network on its weights, many in lanes, and large ones on BLAS."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from fastlin.kernels import Output, Record, Sizes, Status, dispatch, draw_records, empty_batch
from fastlin.kernels import dormand_prince as dp
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.blas import dynamics as blas_dynamics
from fastlin.kernels.blas import flow as blas_flow
from fastlin.kernels.codes import Start
from fastlin.kernels.compilation import Kernel
from fastlin.kernels.compiler.plain import Plain
from fastlin.kernels.vector import balance, flow
from fastlin.kernels.weight_flow import integrate
from tests import reference
from tests.networks import problem

OUTPUTS = tuple(map(int, Output))
CONTROL = FlowControl(1e-10, 10_000)
TIMES = np.array([0.0, 0.5, 2.0, 20.0])
DECAY = (0.1, 0.3)


def slope(w1, w2, sigma_yx, sigma_xx, rates, decay):
    """Return W1' and W2' by their definition."""
    error = sigma_yx - w2 @ w1 @ sigma_xx
    return rates[0] * (w2.T @ error - decay[0] * w1), rates[1] * (error @ w1.T - decay[1] * w2)


def by_scipy(w1, w2, times, *rest):
    """Return both weights at all times by SciPy's DOP853."""

    def flat_slope(_, flat):
        weights = flat[: w1.size].reshape(w1.shape), flat[w1.size :].reshape(w2.shape)
        return np.concatenate([each.ravel() for each in slope(*weights, *rest)])

    start = np.concatenate([w1.ravel(), w2.ravel()])
    distinct, places = np.unique(times, return_inverse=True)
    span = (0.0, times[-1])
    path = solve_ivp(flat_slope, span, start, "DOP853", distinct, rtol=1e-12, atol=1e-14).y.T[places]
    return path[:, : w1.size].reshape(-1, *w1.shape), path[:, w1.size :].reshape(-1, *w2.shape)


def raw_records(shape, count, scale=1.0, seed=0):
    """Return records of raw starts of a random task, and their weights and tasks (w1, w2, sigma_yx)."""
    n_i, n_h, n_o = shape
    sizes, rng = Sizes(*shape), np.random.default_rng([seed, *shape])
    at = Record(sizes.unreduced)
    records, networks = np.zeros((count, at.length)), []
    scales = np.broadcast_to(scale, count)
    for record, each in zip(records, scales, strict=True):
        w1 = each * rng.standard_normal((n_h, n_i)) / np.sqrt(n_i)
        w2 = each * rng.standard_normal((n_o, n_h)) / np.sqrt(n_h)
        sigma_yx = rng.standard_normal((n_o, n_i)) * np.sqrt(0.3 / n_o)
        u, s, vt = np.linalg.svd(sigma_yx)
        q = np.vstack([vt @ w1.T, u.T @ w2])
        if n_h > sizes.units:
            q = np.linalg.qr(q.T, mode="r").T
        record[: at.p], record[at.floor] = s, 0.25
        record[at.v : at.u], record[at.u :] = q[:n_i].ravel(), q[n_i:].ravel()
        networks.append((w1, w2, sigma_yx))
    return records, networks


def run(prepare, records, lams, times, *rest, **options):
    """Return the outputs (R, points, T), the status and the call of a kernel."""
    batch = empty_batch(records, np.asarray(lams, dtype=float), times, len(OUTPUTS))
    batch.outputs.fill(7.0)
    call = prepare(OUTPUTS, batch, *rest, **options)
    call()
    points = len(records) * len(lams)
    return batch.outputs[:, :points].copy(), batch.status[:points].copy(), call


def flow_in_lanes(shape, records, lams=(0.0,), times=TIMES, control=CONTROL, **options):
    def prepare(outputs, batch, **options):
        return dispatch.prepare_flow(Sizes(*shape), outputs, batch, control, **options)

    return run(prepare, records, lams, times, **options)


def flow_on_blas(shape, records, lams=(0.0,), times=TIMES, control=CONTROL, start=Start.RAW, **options):
    sizes = Sizes(*shape) if start == Start.BALANCED else Sizes(*shape).unreduced
    options = {"kappa": 0.0, "decay": (0.0, 0.0)} | options

    def prepare(outputs, batch, **options):
        return blas_flow.prepare(sizes, outputs, batch, control, start, **options)

    return run(prepare, records, lams, times, **options)


def literal(w1, w2, start, sigma_yx, floor=0.25):
    """Return every output of weights by the definitions, for whitened inputs."""
    n_i = sigma_yx.shape[1]
    kernel, first = (reference.ntk(*weights, np.eye(n_i)) for weights in ((w1, w2), start))
    return [
        floor + 0.5 * np.sum((sigma_yx - w2 @ w1) ** 2),
        reference.kernel_distance(first, kernel),
        np.linalg.norm(kernel),
        np.linalg.norm(w1),
        np.linalg.norm(w2),
        np.linalg.norm(reference.balance(w1, w2) - reference.balance(*start)),
        reference.effective_rank(w2 @ w1),
    ]


# One network


@pytest.mark.parametrize("white", [False, True])
@given(seed=st.integers(0, 10**6), decays=st.booleans())
@settings(max_examples=8)
def test_one_network_is_that_of_scipy(white, seed, decays):
    rng = np.random.default_rng(seed)
    n_i, n_h, n_o = rng.integers(1, 6, 3)
    w1, w2 = rng.standard_normal((n_h, n_i)), rng.standard_normal((n_o, n_h))
    sigma_yx, x = rng.standard_normal((n_o, n_i)), rng.standard_normal((n_i, 9))
    sigma_xx = np.eye(n_i) if white else x @ x.T / 9
    rates, decay = rng.uniform(0.2, 3.0, 2), rng.uniform(0.0, 0.5, 2) * decays
    times = np.array([0.0, 0.7, 0.7, 4.0])
    path = integrate(w1, w2, sigma_yx, None if white else sigma_xx, rates, decay, times, 1e-12, 100_000)
    assert path.reached == times.size
    rest = (sigma_yx, sigma_xx, rates, decay)
    for actual, expected in zip(path[:2], by_scipy(w1, w2, times, *rest), strict=True):
        assert np.abs(actual - expected).max() < 1e-9


REFERENCE = Path(__file__).parents[1] / "data" / "beyond_reference.json"
ENTRIES = ["unbalanced", "unwhitened", "everything", "layer_rates"]
ENTRIES += ["weight_decay_lam_0", "weight_decay_lam_1.5", "weight_decay_lam_-2"]


@pytest.mark.parametrize("name", ENTRIES)
def test_one_network_is_that_of_the_reference_file(name):
    entry = json.loads(REFERENCE.read_text())[name]
    weights, sigma_yx = (np.array(entry["w1"]), np.array(entry["w2"])), np.array(entry["sigma_yx"])
    sigma_xx = np.array(entry["sigma_xx"]) if "sigma_xx" in entry else None
    decay = np.broadcast_to(entry.get("decay", 0.0), 2)
    rest = (entry.get("rates", (1.0, 1.0)), decay, np.array(entry["times"]), 1e-12, 10_000)
    path = integrate(*weights, sigma_yx, sigma_xx, *rest)
    assert np.abs(path.path2 @ path.path1 - entry["w2w1"]).max() < 1e-9


def test_the_error_has_order_8_and_its_estimates_have_orders_6_and_4():
    rng = np.random.default_rng(3)
    q, s = rng.standard_normal((5, 2)), rng.standard_normal((2, 3))

    def derivative(q):
        error = s - q[3:] @ q[:3].T
        return np.vstack([error.T @ q[3:], error @ q[:3]])

    def step(q, h):
        k = []
        for coefficients in dp.STAGES:
            k.append(derivative(q + h * sum((c * k[j] for j, c in coefficients.items()), np.zeros_like(q))))
        new, low = (h * sum(c * k[j] for j, c in row.items()) for row in (dp.WEIGHTS, dp.WEIGHTS_3))
        error = h * sum(c * k[j] for j, c in dp.ERROR_5.items())
        return q + new, np.linalg.norm(error), np.linalg.norm(new - low)

    def end(steps):
        state = q
        for _ in range(steps):
            state = step(state, 1.0 / steps)[0]
        return state

    exact = end(200)
    errors = [np.abs(end(steps) - exact).max() for steps in (12, 24)]
    assert 7.5 < np.log2(errors[0] / errors[1]) < 9.0
    estimates = np.array([step(q, h)[1:] for h in (0.004, 0.002)])
    assert np.log2(estimates[0] / estimates[1]) == pytest.approx([6, 4], abs=0.2)


def test_error_falls_with_the_tolerance():
    records, _ = raw_records((4, 2, 4), 8)
    exact, *_ = flow_in_lanes((4, 2, 4), records, control=FlowControl(1e-13, 10_000), start=Start.RAW)
    for tolerance in (1e-6, 1e-9):
        control = FlowControl(tolerance, 10_000)
        out, *_ = flow_in_lanes((4, 2, 4), records, control=control, start=Start.RAW)
        error = np.abs(out[Output.LOSS] - exact[Output.LOSS]).max()
        assert tolerance / 1e5 < error < 100 * tolerance


# Many networks

SHAPES = [(4, 2, 4), pytest.param((3, 40, 2), marks=pytest.mark.slow), (6, 9, 7)]


@pytest.mark.parametrize("decay", [(0.0, 0.0), DECAY])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lanes_are_one_network(shape, decay):
    records, networks = raw_records(shape, 11)
    out, status, call = flow_in_lanes(shape, records, start=Start.RAW, decay=decay)
    assert (status == Status.OK).all()
    for point, (w1, w2, sigma_yx) in enumerate(networks):
        path = integrate(w1, w2, sigma_yx, None, (1.0, 1.0), decay, TIMES, *CONTROL)
        for index in range(TIMES.size):
            expected = literal(path.path1[index], path.path2[index], (w1, w2), sigma_yx)
            assert np.allclose(out[:, point, index], expected, rtol=1e-7, atol=1e-8)
        # Rounding may turn a step into two, but not many.
        assert abs(call.arguments[-1][point] - path.steps) <= 3


@pytest.mark.parametrize("shape", [(4, 2, 4), pytest.param((12, 10, 11), marks=pytest.mark.slow)], ids=str)
def test_lanes_are_the_closed_form_for_balanced_starts(shape):
    records, lams = draw_records(Sizes(*shape), np.arange(5), problem("gaussian", 14, 1.5, 0.7)), [-2.0, 0.4]
    out, status, _ = flow_in_lanes(shape, records, lams)
    exact = empty_batch(records, np.array(lams), TIMES, len(OUTPUTS))
    dispatch.closed_form(Sizes(*shape), OUTPUTS, exact)
    assert (status == Status.OK).all()
    assert np.allclose(out, exact.outputs[:, : out.shape[1]], rtol=1e-7, atol=1e-7)


def started(shape, start, kappa=0.0, lam=0.0):
    """Return Q(0), the singular values of its product and those of the task, from the code of starts."""
    sizes = Sizes(*shape)
    record = draw_records(sizes, np.arange(1), problem("gaussian", 14, 1.5, 0.7))[0]
    code = Plain(np.float64, sizes.unreduced)
    ws = flow.Flow.plain(sizes.unreduced)
    ws.lam[()] = lam
    balance.write_start(code, ws, start, record, kappa)
    at = Record(sizes)
    assert ws.floor[()][0] == record[at.floor] and (ws.s.values[:, 0] == record[: sizes.m]).all()
    return ws.q0.values[..., 0], record[at.p : at.p + sizes.k]


@pytest.mark.parametrize("lam", [-1.3, 0.0, 2.0])
@pytest.mark.parametrize("shape", [(2, 5, 3), (3, 9, 2), (3, 6, 3), (4, 20, 1)], ids=str)
def test_a_two_sided_start_obeys_its_equation(shape, lam):
    kappa = 0.6
    q, p = started(shape, Start.TWO_SIDED, kappa, lam)
    n_i = shape[0]
    d = q[n_i:].T @ q[n_i:] - q[:n_i].T @ q[:n_i]
    j = np.diag([1.0] * n_i + [-1.0] * shape[2])
    assert np.allclose(q @ (d - lam * np.eye(len(d))) @ q.T, -(kappa**2) * j, atol=1e-12)
    assert np.allclose(np.linalg.svd(q[n_i:] @ q[:n_i].T)[1], p, atol=1e-12)


KINDS = [
    ((4, 2, 4), Start.BALANCED, [-1.0, 0.5], 0.0),
    pytest.param((3, 40, 2), Start.BALANCED, [-1.0, 0.5], 0.0, marks=pytest.mark.slow),
    ((3, 40, 2), Start.TWO_SIDED, [-1.0, 0.5], 0.7),
    ((4, 2, 4), Start.RAW, [0.0], 0.0),
    pytest.param((6, 9, 7), Start.RAW, [0.0], 0.0, marks=pytest.mark.slow),
]


def records_of(shape, start):
    if start == Start.RAW:
        return raw_records(shape, 5)[0]
    return draw_records(Sizes(*shape), np.arange(5), problem("gaussian", 14, 1.0, 1.0))


@pytest.mark.parametrize(("shape", "start", "lams", "kappa"), KINDS)
def test_large_networks_are_lanes(shape, start, lams, kappa):
    options = {"start": start, "kappa": kappa, "decay": DECAY}
    out, status, call = flow_in_lanes(shape, records_of(shape, start), lams, **options)
    others, other_status, other_call = flow_on_blas(shape, records_of(shape, start), lams, **options)
    assert (status == Status.OK).all() and (other_status == Status.OK).all()
    assert np.allclose(out, others, rtol=1e-8, atol=1e-9)
    assert np.abs(call.arguments[-1] - other_call.arguments[-1]).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(90, 100, 20), (9, 41, 40)], ids=str)
def test_dispatch_takes_large_networks_to_blas(shape):
    records, networks = raw_records(shape, 1)
    w1, w2, sigma_yx = networks[0]
    times = np.array([0.0, 1.0])
    out, status, call = flow_in_lanes(shape, records, times=times, start=Start.RAW)
    assert call.function is blas_flow._flow_points and (status == Status.OK).all()
    path = integrate(w1, w2, sigma_yx, None, (1.0, 1.0), (0.0, 0.0), times, *CONTROL)
    expected = literal(path.path1[1], path.path2[1], (w1, w2), sigma_yx)
    assert np.allclose(out[:, 0, 1], expected, rtol=1e-7, atol=1e-7)


def test_two_sided_starts_conserve_their_equation():
    records = records_of((3, 40, 2), Start.TWO_SIDED)
    out, *_ = flow_in_lanes((3, 40, 2), records, [-1.0, 0.5], start=Start.TWO_SIDED, kappa=0.7)
    assert np.abs(out[Output.BALANCE_DRIFT]).max() < 1e-8


def test_two_sided_starts_need_a_wide_network():
    records = records_of((4, 2, 4), Start.TWO_SIDED)
    with pytest.raises(ValueError, match="N_h >= N_i"):
        flow_in_lanes((4, 2, 4), records, start=Start.TWO_SIDED, kappa=0.7)


def test_decay_shrinks_the_imbalance():
    """D(t) = exp(-2 g t) D(0) for equal decay of both layers."""
    records, networks = raw_records((4, 2, 4), 3)
    out, *_ = flow_in_lanes((4, 2, 4), records, start=Start.RAW, decay=(0.2, 0.2))
    for point, (w1, w2, _) in enumerate(networks):
        expected = np.linalg.norm(reference.balance(w1, w2)) * -np.expm1(-0.4 * TIMES)
        assert np.allclose(out[Output.BALANCE_DRIFT, point], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 2, 4), pytest.param((6, 9, 7), marks=pytest.mark.slow)], ids=str)
def test_bits_of_a_point_do_not_depend_on_its_neighbours(shape):
    records, _ = raw_records(shape, 19, np.linspace(0.1, 2.0, 19))
    out, _, call = flow_in_lanes(shape, records, start=Start.RAW)
    for some in (np.arange(19)[::-1], np.array([5]), np.array([18, 3, 3])):
        others, _, other_call = flow_in_lanes(shape, records[some], start=Start.RAW)
        assert (others == out[:, some]).all()
        assert (other_call.arguments[-1] == call.arguments[-1][some]).all()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 2, 4), (3, 40, 2), (12, 10, 11)], ids=str)
def test_both_forms_of_the_kernel_give_the_same_bits(shape):
    records, _ = raw_records(shape, 5)
    (loaded, _, one), (special, _, other) = (
        flow_in_lanes(shape, records, start=Start.RAW, specialise=specialise) for specialise in (False, True)
    )
    assert (loaded == special).all() and (one.arguments[-1] == other.arguments[-1]).all()


def lanes_of(call):
    return next(argument for argument in call.arguments if isinstance(argument, flow.Lanes))


def test_a_vector_takes_the_mean_number_of_steps():
    records, _ = raw_records((4, 2, 4), 400, np.tile(np.linspace(0.1, 3.0, 8), 50))
    _, status, call = flow_in_lanes((4, 2, 4), records, times=np.array([0.0, 30.0]), start=Start.RAW)
    steps, rounds = call.arguments[-1], lanes_of(call).rounds[0]
    assert (status == Status.OK).all() and steps.max() > 4 * steps.min()
    assert rounds * 8 <= 1.15 * steps.sum()


@pytest.mark.parametrize("kernel", [flow_in_lanes, flow_on_blas])
def test_a_point_that_needs_too_many_steps_is_too_stiff(kernel):
    records, networks = raw_records((4, 2, 4), 10, np.where(np.arange(10) == 4, 30.0, 1.0))
    times, control = np.array([0.0, 1e-3, 5.0]), FlowControl(1e-9, 100)
    out, status, call = kernel((4, 2, 4), records, times=times, control=control, start=Start.RAW)
    assert status.tolist() == [Status.OK] * 4 + [Status.TOO_STIFF] + [Status.OK] * 5
    assert np.isnan(out[:, 4, 2]).all() and np.isfinite(out[:, 4, :2]).all()
    assert np.isfinite(np.delete(out, 4, axis=1)).all()
    assert 50 < call.arguments[-1][4] <= 100
    path = integrate(*networks[4], None, (1.0, 1.0), (0.0, 0.0), times, *control)
    assert path.reached == 2 and np.isnan(path.path1[2]).all() and np.isfinite(path.path2[1]).all()


@pytest.mark.parametrize("kernel", [flow_in_lanes, flow_on_blas])
@pytest.mark.parametrize("at", ["s", "v"])
def test_a_point_that_is_not_finite_fails_alone(kernel, at):
    records, _ = raw_records((4, 2, 4), 10)
    records[3, getattr(Record(Sizes(4, 2, 4).unreduced), at) + 1] = np.nan
    out, status, _ = kernel((4, 2, 4), records, start=Start.RAW)
    assert status.tolist() == [Status.OK] * 3 + [Status.FAILED] + [Status.OK] * 6
    assert np.isnan(out[Output.LOSS, 3]).all() and np.isfinite(np.delete(out, 3, axis=1)).all()


@pytest.mark.parametrize("kernel", [flow_in_lanes, flow_on_blas])
def test_tiny_weights_leave_the_saddle_on_time(kernel):
    """A start of one mode, p(t) = s / (1 + (s / p(0) - 1) exp(-2 s t)), whose squares have 200 digits."""
    sizes, s = Sizes(4, 2, 4), 0.8
    at = Record(sizes.unreduced)
    record = np.zeros((1, at.length))
    record[0, 0], record[0, at.v], record[0, at.u] = s, 1e-100, 1e-100
    times = np.array([1e-3, 280.0, 288.0, 300.0])
    out, *_ = kernel((4, 2, 4), record, times=times, start=Start.RAW)
    product = s / (1.0 + (s / 1e-200 - 1.0) * np.exp(-2.0 * s * times))
    assert 0.01 * s < product[2] < 0.99 * s
    assert np.allclose(out[Output.LOSS, 0], 0.5 * (s - product) ** 2, rtol=0.0, atol=1e-6)


def test_weights_that_are_0_stay():
    records, _ = raw_records((4, 2, 4), 2, 0.0)
    out, *_ = flow_in_lanes((4, 2, 4), records, start=Start.RAW)
    assert (out[Output.W1_NORM] == 0.0).all() and np.ptp(out[Output.LOSS], axis=1).max() == 0.0


# Gradient descent from other starts

STEPS = np.array([0, 7, 300])


@pytest.mark.parametrize("decay", [(0.0, 0.0), DECAY])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_descent_from_raw_starts(shape, decay):
    records, networks = raw_records(shape, 9)

    def prepare(outputs, batch):
        return dispatch.prepare_gradient_descent(
            Sizes(*shape), outputs, batch, 0.02, start=Start.RAW, decay=decay
        )

    out, status, _ = run(prepare, records, [0.0], STEPS)
    assert (status == Status.OK).all()
    for point, (first, second, sigma_yx) in enumerate(networks):
        w1, w2 = first, second
        for step in range(STEPS[-1] + 1):
            if step in STEPS:
                index = STEPS.tolist().index(step)
                expected = literal(w1, w2, (first, second), sigma_yx)
                assert np.allclose(out[:, point, index], expected, rtol=1e-9, atol=1e-9)
            change1, change2 = slope(w1, w2, sigma_yx, np.eye(shape[0]), (1.0, 1.0), decay)
            w1, w2 = w1 + 0.02 * change1, w2 + 0.02 * change2


@pytest.mark.parametrize("by_gram", [False, True])
@pytest.mark.parametrize(("shape", "start", "lams", "kappa"), KINDS)
def test_gradient_descent_of_large_networks_is_that_of_lanes(shape, start, lams, kappa, by_gram):
    options = {"start": start, "kappa": kappa, "decay": DECAY}
    sizes = Sizes(*shape)

    def lanes(outputs, batch):
        return dispatch.prepare_gradient_descent(sizes, outputs, batch, 0.02, **options)

    def blas(outputs, batch):
        kept = sizes if start == Start.BALANCED else sizes.unreduced
        return blas_dynamics.prepare_gradient_descent(kept, outputs, batch, 0.02, by_gram, **options)

    (out, status, _), (others, other_status, _) = (
        run(prepare, records_of(shape, start), lams, STEPS) for prepare in (lanes, blas)
    )
    assert (status == Status.OK).all() and (other_status == Status.OK).all()
    assert np.allclose(out, others, rtol=1e-10, atol=1e-10)


# Estimates and compilation


def test_steps_are_estimated_within_a_factor_of_three():
    cases = [(1.0, 90.0, 1e-9), (3.0, 10.0, 1e-9), (0.1, 300.0, 1e-6), (1.0, 3.0, 1e-11)]
    for scale, time, tolerance in cases:
        (w1, w2, sigma_yx), *_ = raw_records((8, 4, 8), 1, scale)[1]
        sizes = [np.linalg.norm(each, 2) for each in (w1, w2, sigma_yx)]
        estimate = dp.estimated_steps(max(sizes[0] ** 2 + sizes[1] ** 2, 2 * sizes[2]), time, tolerance)
        times = np.array([time])
        path = integrate(w1, w2, sigma_yx, None, (1.0, 1.0), (0.0, 0.0), times, tolerance, 100_000)
        assert path.steps / 3 < estimate < path.steps * 3


def test_kernels_are_compiled_ahead_for_every_start():
    shape = (4, 2, 4)
    for start, decay in ((Start.RAW, DECAY), (Start.BALANCED, (0.0, 0.0))):
        records = records_of(shape, start)
        *_, call = flow_in_lanes(shape, records, start=start, decay=decay)
        ahead = Kernel("flow", Sizes(*shape), OUTPUTS, start=start)
        assert ahead.call()._types == call._types and ahead.tier == "vector"

        def prepare(outputs, batch, start=start, decay=decay):
            return dispatch.prepare_gradient_descent(
                Sizes(*shape), outputs, batch, 0.1, start=start, decay=decay
            )

        *_, call = run(prepare, records, [0.0], STEPS)
        ahead = Kernel("gradient_descent", Sizes(*shape), OUTPUTS, start=start, decays=any(decay))
        assert ahead.call()._types == call._types
    wide, wider = (Kernel("flow", Sizes(size, 100, size), OUTPUTS, start=Start.RAW) for size in (300, 400))
    assert wide.tier == "blas" and wide.key == wider.key
