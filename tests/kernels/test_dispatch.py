"""The compiled kernels agree with the plain-NumPy reference for every class of architecture."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import kernels
from fastlin.kernels import Output, Sizes, Status, dispatch, empty_batch
from fastlin.kernels.random import Stream, standard_normals
from fastlin.kinds.initialisation import product_kinds
from tests import reference
from tests.networks import CLASSES, problem, relative

LAMS = np.array([-9.0, -1e-3, 0.0, 0.3, 4.0])
TIMES = np.array([0.0, 0.2, 3.0, 40.0])
OUTPUTS = tuple(int(output) for output in Output)
QUICK = ("gaussian", "random_regression", "aligned", "zero_output")
OTHERS = tuple(kind for kind in product_kinds() if kind not in QUICK)
SAMPLES, SCALE, SEEDS = 12, 3**0.5, (0, 7)


def records(shape, seeds=SEEDS, kind="gaussian", init_scale=1.0):
    return kernels.draw_records(Sizes(*shape), np.array(seeds), problem(kind, SAMPLES, SCALE, init_scale))


def run(kernel, shape, problems, lams, times, outputs, *rest, specialise=False):
    """Return the outputs (S, R, T, L) and the status (S, L) of a kernel."""
    outputs, times = tuple(int(output) for output in outputs), np.asarray(times)
    batch = empty_batch(problems, np.asarray(lams, dtype=float), times, len(outputs))
    batch.outputs.fill(np.nan)
    kernel(Sizes(*shape), outputs, batch, *rest, specialise=specialise)
    grid = (len(problems), len(lams))
    points = len(problems) * len(lams)
    out = batch.outputs[:, :points].reshape(len(outputs), *grid, times.size)
    return np.moveaxis(out, (1, 0, 3, 2), (0, 1, 2, 3)), batch.status[:points].reshape(grid)


def closed_form(shape, problems, lams, times, outputs):
    return run(dispatch.closed_form, shape, problems, lams, np.asarray(times, dtype=float), outputs)


def gradient_descent(shape, problems, lams, rate, steps, outputs):
    return run(dispatch.gradient_descent, shape, problems, lams, np.asarray(steps), outputs, rate)


def point(shape, seed, lam, kind="gaussian", init_scale=1.0):
    """Return the task and the network of one point, from the single-network API."""
    arch = fl.Architecture(*shape)
    task = fl.random_regression(arch, SAMPLES, SCALE, seed)
    return task, fl.balanced_init(arch, lam, init_scale, seed, kind, n_samples=SAMPLES, task=task)


def literal(task, start, w1, w2):
    """Return every output for weights w1, w2 by the literal definitions, with the dense NTK."""
    kernel, kernel0 = reference.ntk(w1, w2, task.X), reference.ntk(*start, task.X)
    return {
        Output.LOSS: reference.loss(w1, w2, task.sigma_yx, task.sigma_yy_trace),
        Output.KERNEL_DISTANCE: reference.kernel_distance(kernel0, kernel),
        Output.NTK_NORM: np.linalg.norm(kernel) / SAMPLES,
        Output.W1_NORM: np.linalg.norm(w1),
        Output.W2_NORM: np.linalg.norm(w2),
        Output.EFFECTIVE_RANK: reference.effective_rank(w2 @ w1),
    }


def factor(qqt, n_i):
    """Return weights (w1, w2) whose QQ^T is `qqt`."""
    values, vectors = np.linalg.eigh(qqt)
    q = vectors * np.sqrt(np.maximum(values, 0.0))
    return q[:n_i].T, q[n_i:]


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("kind", [*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS)])
def test_closed_form_rows(shape, kind):
    lams = (
        LAMS[LAMS != 0.0] if kind == "zero_output" else LAMS
    )  # at lam = 0 the weights are 0, and no NTK changes
    out, status = closed_form(shape, records(shape, kind=kind, init_scale=0.7), lams, TIMES, OUTPUTS)
    assert (status == Status.OK).all()
    assert not out[:, Output.BALANCE_DRIFT].any()
    for i, seed in enumerate(SEEDS):
        for j, lam in enumerate(lams):
            task, net = point(shape, seed, lam, kind, 0.7)
            for k, t in enumerate(TIMES):
                weights = (net.w1, net.w2)
                if t > 0:
                    qqt = reference.any_time(task.sigma_yx, net.w1, net.w2, lam, t)
                    weights = factor(qqt, shape[0])
                expected_rows = literal(task, (net.w1, net.w2), *weights)
                if kind == "zero_output" and t == 0:  # the effective rank of an empty map depends on rounding
                    del expected_rows[Output.EFFECTIVE_RANK]
                for row, expected in expected_rows.items():
                    # Distances are differences from 1.
                    assert out[i, row, k, j] == pytest.approx(expected, rel=1e-9, abs=2e-13), (row, t)


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
def test_gradient_descent_rows(shape):
    rate, steps = 0.01, np.array([0, 1, 50])
    out, status = gradient_descent(shape, records(shape), LAMS, rate, steps, OUTPUTS)
    assert (status == Status.OK).all()
    for i, seed in enumerate(SEEDS):
        for j, lam in enumerate(LAMS):
            task, net = point(shape, seed, lam)
            for k, step in enumerate(steps):
                w1, w2 = reference.gradient_descent(task.sigma_yx, net.w1, net.w2, rate, step)
                for row, expected in literal(task, (net.w1, net.w2), w1, w2).items():
                    assert out[i, row, k, j] == pytest.approx(expected, rel=1e-11, abs=2e-14), (row, step)
                start, end = reference.balance(net.w1, net.w2), reference.balance(w1, w2)
                drift = np.linalg.norm(end - start)
                assert out[i, Output.BALANCE_DRIFT, k, j] == pytest.approx(drift, abs=1e-12)


def test_seeds_are_independent():
    """The bits of a seed do not depend on the other seeds of a block."""
    shape = (4, 4, 4)
    together, _ = closed_form(shape, records(shape, range(5)), LAMS, TIMES, OUTPUTS)
    descended, _ = gradient_descent(shape, records(shape, range(5)), LAMS, 0.01, [3, 9], OUTPUTS)
    for seed in range(5):
        alone, _ = closed_form(shape, records(shape, [seed]), LAMS, TIMES, OUTPUTS)
        assert np.array_equal(alone[0], together[seed])
        alone, _ = gradient_descent(shape, records(shape, [seed]), LAMS, 0.01, [3, 9], OUTPUTS)
        assert np.array_equal(alone[0], descended[seed])


@pytest.mark.parametrize(
    "times",
    [[1.0], np.linspace(0.0, 6.0, 13), np.linspace(0.0, 200.0, 401)],
    ids=["jump", "march", "march far"],
)
def test_lams_are_independent(times):
    """Some of these lam march on the grid, and others are too fast for it."""
    lams, problems = np.linspace(-60, 60, 29), records((4, 2, 4), [3])
    out, _ = closed_form((4, 2, 4), problems, lams, times, OUTPUTS)
    for index, lam in enumerate(lams):
        one, _ = closed_form((4, 2, 4), problems, [lam], times, OUTPUTS)
        assert np.array_equal(one[..., 0], out[..., index])


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
def test_march_agrees_with_jumps(shape):
    """The grid is long enough that growing columns are rescaled, and includes saddles at lam = 0.

    The reversed times form no grid, so that the kernel jumps to each of them.
    """
    lams, problems = np.linspace(-6.0, 6.0, 13), records(shape, range(4))
    times = np.linspace(0.0, 100.0, 201)
    compared = [Output.LOSS, Output.KERNEL_DISTANCE]
    marched, status = closed_form(shape, problems, lams, times, OUTPUTS)
    backwards = np.ascontiguousarray(times[::-1])
    jumped, _ = closed_form(shape, problems, lams, backwards, OUTPUTS)
    marched, jumped = marched[:, compared], jumped[:, compared, ::-1]
    assert (status == Status.OK).all()
    assert not np.array_equal(marched, jumped)
    assert np.allclose(marched, jumped, rtol=1e-11, atol=1e-12)


def test_arrays_that_are_not_contiguous_are_refused():
    """Kernels read memory from the first element on, so they would ignore the strides of a view."""
    with pytest.raises(TypeError, match="times is an array that is not contiguous"):
        closed_form((4, 2, 4), records((4, 2, 4)), LAMS, TIMES[::-1], [Output.LOSS])


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 21])
def test_times_are_independent(count):
    """Times are written eight at a time, and the remaining ones singly."""
    times = np.linspace(3.0, 0.1, count) ** 2
    problems = records((4, 2, 4), range(3))
    together, _ = closed_form((4, 2, 4), problems, LAMS, times, OUTPUTS)
    for index, time in enumerate(times):
        alone, _ = closed_form((4, 2, 4), problems, LAMS, [time], OUTPUTS)
        assert np.array_equal(alone[:, :, 0], together[:, :, index])


def test_outputs_that_are_too_small_are_refused():
    """Kernels write whole vectors, so one point needs the memory of all lanes."""
    out, status = np.empty((1, 1, 1)), np.empty(1, np.uint8)
    batch = kernels.Batch(records((4, 2, 4), [0]), np.zeros(1), np.ones(1), out, status)
    with pytest.raises(ValueError, match=f"are too short: {kernels.padded(1)} points are needed"):
        dispatch.closed_form(Sizes(4, 2, 4), (0,), batch)


def test_diverging_runs_are_coded():
    rows, steps = np.array([Output.LOSS, Output.KERNEL_DISTANCE]), np.array([0, 10, 400])
    out, status = gradient_descent((4, 2, 4), records((4, 2, 4), [1]), [0.0, 200.0], 0.02, steps, rows)
    assert status.tolist() == [[Status.OK, Status.DIVERGED]]
    assert np.isfinite(out[..., 0]).all()
    assert np.isfinite(out[:, :, 0]).all()
    assert np.isnan(out[:, :, 2, 1]).all()


def test_gram_form_is_the_plain_form():
    for shape in CLASSES.values():
        task, net = point(shape, 2, 1.3)
        plain = reference.gradient_descent(task.sigma_yx, net.w1, net.w2, 0.01, 300)
        dataset = fl.gradient_descent(task, net, 0.01, 300, 300, observables=["qqt"])
        assert relative(dataset.qqt.values[-1], reference.qqt(*plain)) < 1e-12
        out, _ = gradient_descent(shape, records(shape, [2]), [1.3], 0.01, [300], OUTPUTS)
        norms = [np.linalg.norm(layer) for layer in plain]
        assert relative(out[0, [Output.W1_NORM, Output.W2_NORM], 0, 0], np.array(norms)) < 1e-12


def test_streams_are_a_function_of_values():
    first = standard_normals(Stream.TARGETS, 5, Sizes(4, 0, 3), 8)
    assert np.array_equal(first, standard_normals(Stream.TARGETS, 5, Sizes(4, 0, 3), 8))
    others = [
        (Stream.INPUTS, 5, Sizes(4, 0, 3)),
        (Stream.TARGETS, 6, Sizes(4, 0, 3)),
        (Stream.TARGETS, 5, Sizes(3, 0, 4)),
        (Stream.TARGETS, 5, Sizes(4, 1, 3)),
    ]
    assert not any(np.isin(standard_normals(*other, 8), first).any() for other in others)


@pytest.mark.parametrize("lam", [-1e300, -3.0, -1e-12, 0.0, 1e-12, 3.0, 1e300])
@pytest.mark.parametrize("p", [0.0, 1e-30, 1.0, 1e8])
def test_balanced_scales(p, lam):
    s1, s2 = kernels.balanced_scales(p, lam)
    assert s1 * s2 == pytest.approx(p, rel=1e-14)
    assert (s2 - s1) * (s2 + s1) == pytest.approx(lam, rel=1e-9, abs=2e-16 * max(s1, s2) ** 2)
