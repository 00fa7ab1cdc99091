"""The flow and gradient descent on tasks with inputs that are not whitened: lanes, BLAS, one network."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlin.kernels import Output, Sizes, Status, dispatch, draw_inputs_records, empty_batch
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.blas import inputs as blas_inputs
from fastlin.kernels.codes import Start
from fastlin.kernels.compilation import Kernel
from fastlin.kernels.compiler.plain import Plain
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.draws import Problem, RegressionTask, Target, WeightStart
from fastlin.kernels.sizes import InputsRecord
from fastlin.kernels.vector import inputs, inputs_flow
from fastlin.kernels.vector.flow_step import leave
from fastlin.kernels.vector.observables import Observer
from fastlin.kernels.weight_descent import descend
from fastlin.kernels.weight_flow import integrate
from tests import reference
from tests.networks import problem

OUTPUTS = tuple(map(int, Output))
CONTROL = FlowControl(1e-11, 20_000)
TIMES = np.array([0.0, 0.5, 3.0])
STEPS = np.array([0, 1, 40])
RATE = 0.03
DECAY = (0.1, 0.3)
SHAPES = [(4, 2, 3), (3, 20, 2), (1, 1, 1), (10, 9, 8)]


@dataclass(frozen=True)
class DataLaw:
    """Correlated inputs X (N_i, P) and targets of a seed. With P < N_i the inputs are dependent."""

    samples: int
    white: bool = False

    def data(self, seed, n_i, n_o):
        rng = np.random.default_rng([seed, n_i, n_o])
        x = np.exp(rng.standard_normal((n_i, 1)) / 2) * rng.standard_normal((n_i, self.samples))
        return x + 0.3 * x[:1], rng.standard_normal((n_o, self.samples))

    def draw(self, seed, sizes):
        x, y = self.data(seed, sizes.n_i, sizes.n_o)
        fit = np.linalg.lstsq(x.T, y.T, rcond=None)[0].T
        floor = 0.5 * np.sum((y - fit @ x) ** 2) / self.samples
        return Target(y @ x.T / self.samples, floor, x @ x.T / self.samples)


def law_of(samples, kind="xavier", scale=0.8):
    return Problem(DataLaw(samples), WeightStart(kind), scale)


def weights_of(law, seed, sizes):
    return [law.init_scale * each for each in law.start.weights(seed, sizes)]


def run(prepare, records, times, *rest, **options):
    """Return the outputs (R, P, T), the status (P,) and the call of a kernel."""
    batch = empty_batch(records, np.zeros(1), times, len(OUTPUTS))
    batch.outputs.fill(7.0)
    call = prepare(OUTPUTS, batch, *rest, **options)
    call()
    return batch.outputs[:, : len(records)].copy(), batch.status[: len(records)].copy(), call


def flow(sizes, records, times=TIMES, control=CONTROL, by_blas=False, decay=DECAY, **options):
    if by_blas:
        return run(partial(blas_inputs.prepare_flow, sizes.unreduced), records, times, control, decay)
    prepare = partial(dispatch.prepare_flow, sizes, start=Start.INPUTS, decay=decay)
    return run(prepare, records, times, control, **options)


def descent(sizes, records, steps=STEPS, rate=RATE, by_blas=False, decay=DECAY, **options):
    if by_blas:
        return run(
            partial(blas_inputs.prepare_gradient_descent, sizes.unreduced), records, steps, rate, decay
        )
    prepare = partial(dispatch.prepare_gradient_descent, sizes, start=Start.INPUTS, decay=decay)
    return run(prepare, records, steps, rate, **options)


def literal(w1, w2, start, x, y):
    """Return every output of weights by the definitions over samples."""
    kernel, first = (reference.ntk(*weights, x) for weights in ((w1, w2), start))
    return [
        0.5 * np.sum((y - w2 @ w1 @ x) ** 2) / x.shape[1],
        reference.kernel_distance(first, kernel),
        np.linalg.norm(kernel) / x.shape[1],
        np.linalg.norm(w1),
        np.linalg.norm(w2),
        np.linalg.norm(reference.balance(w1, w2) - reference.balance(*start)),
        reference.effective_rank(w2 @ w1),
    ]


def assert_outputs(out, paths, starts, law, sizes, seeds):
    """Compare outputs (R, P, T) with the definitions, for the weights of each seed at all times."""
    for point, (seed, start, path) in enumerate(zip(seeds, starts, paths, strict=True)):
        x, y = law.task.data(seed, sizes.n_i, sizes.n_o)
        for index, weights in enumerate(zip(*path, strict=True)):
            expected = literal(*weights, start, x, y)
            assert np.allclose(out[:, point, index], expected, rtol=1e-8, atol=1e-9), (point, index)


def paths_by_flow(law, starts, sizes, seeds, decay):
    for seed, start in zip(seeds, starts, strict=True):
        sigma_yx, _, sigma_xx = law.task.draw(seed, sizes)
        path = integrate(*start, sigma_yx, sigma_xx, (1.0, 1.0), decay, TIMES, *CONTROL)
        yield path.path1, path.path2


def paths_by_descent(law, starts, sizes, seeds, decay):
    for seed, start in zip(seeds, starts, strict=True):
        sigma_yx, _, sigma_xx = law.task.draw(seed, sizes)
        path = [np.empty((STEPS.size, *each.shape)) for each in start]
        descend(*(each.copy() for each in start), sigma_yx, sigma_xx, (RATE, RATE), decay, STEPS, *path)
        yield path


RUNS = {"flow": (flow, paths_by_flow), "gradient descent": (descent, paths_by_descent)}


@pytest.mark.parametrize("by_blas", [False, True], ids=["lanes", "blas"])
@pytest.mark.parametrize("solver", RUNS)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(SHAPES),
    samples=st.integers(1, 12),
    decay=st.sampled_from([(0.0, 0.0), DECAY]),
)
@settings(max_examples=6)
def test_outputs_are_those_of_one_network(solver, by_blas, seed, shape, samples, decay):
    """With few samples some eigenvalues of Sigma_xx are 0."""
    sizes, law, seeds = Sizes(*shape), law_of(samples), np.arange(seed, seed + 3)
    solve, paths = RUNS[solver]
    out, status, _ = solve(sizes, draw_inputs_records(sizes, seeds, law), decay=decay, by_blas=by_blas)
    starts = [weights_of(law, each, sizes) for each in seeds]
    assert (status == Status.OK).all()
    assert_outputs(out, paths(law, starts, sizes, seeds, decay), starts, law, sizes, seeds)


@pytest.mark.parametrize("solver", RUNS)
def test_whitened_inputs_are_the_special_case(solver):
    sizes, law = Sizes(4, 3, 5), Problem(RegressionTask(9, 1.5), WeightStart("he"), 0.7)
    seeds = np.arange(5)
    out, *_ = RUNS[solver][0](sizes, draw_inputs_records(sizes, seeds, law))
    raw = dispatch.draw_raw_records(sizes, seeds, law)
    kernel, rest = (
        (dispatch.prepare_flow, (CONTROL,))
        if solver == "flow"
        else (dispatch.prepare_gradient_descent, (RATE,))
    )
    times = TIMES if solver == "flow" else STEPS
    expected, *_ = run(partial(kernel, sizes, start=Start.RAW, decay=DECAY), raw, times, *rest)
    assert np.allclose(out, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["gaussian", "aligned", "random_regression"])
@pytest.mark.parametrize(("shape", "kappa"), [((4, 2, 3), 0.0), ((2, 6, 3), 0.0), ((2, 6, 3), 0.7)])
def test_balanced_starts_have_their_balance_and_their_product(kind, shape, kappa):
    """Each record has a seed, an init_scale, a lam and a kappa of its own."""
    sizes, lams = Sizes(*shape), np.array([-2.0, 0.0, 1.5])
    law = Problem(DataLaw(7), problem(kind, 9, 1.5, 1.0).start, 9.0)
    scales, kappas = np.array([0.5, 1.0, 1.3]), kappa * np.array([1.0, 2.0, 0.5])
    records = draw_inputs_records(
        sizes, np.arange(3), law, init_scales=scales, lams=lams, kappa=kappas if kappa else 0.0
    )
    out, status, _ = flow(sizes, records, decay=(0.0, 0.0))
    assert (status == Status.OK).all()
    at = InputsRecord(sizes.unreduced)
    n_i, n_o, width = shape[0], shape[2], sizes.unreduced.width
    for seed, (record, lam, each) in enumerate(zip(records, lams, kappas, strict=True)):
        q = record[at.v :].reshape(n_i + n_o, width)
        d, j = q[n_i:].T @ q[n_i:] - q[:n_i].T @ q[:n_i], np.diag([1.0] * n_i + [-1.0] * n_o)
        assert np.allclose(q @ (d - lam * np.eye(width)) @ q.T, -(each**2) * j, atol=1e-11)
        if kind == "aligned":
            expected = np.full(sizes.k, scales[seed] ** 2)
        else:
            product = law.start.product(seed, sizes)
            scale = scales[seed] ** law.start.power
            expected = scale * np.linalg.svd(product, compute_uv=False)[: sizes.k]
        values = np.linalg.svd(q[n_i:] @ q[:n_i].T, compute_uv=False)[: sizes.k]
        assert np.allclose(values, expected, rtol=1e-10)
    assert np.abs(out[Output.BALANCE_DRIFT]).max() < 1e-8


def test_a_pair_has_the_bits_of_its_record():
    sizes, law = Sizes(4, 2, 3), law_of(9)
    records = draw_inputs_records(sizes, np.arange(19), law)
    chosen = np.array([3, 3, 18, 0, 7, 11, 4, 5, 6])
    for prepare, times, rest in (
        (dispatch.prepare_flow, TIMES, (CONTROL,)),
        (dispatch.prepare_gradient_descent, STEPS, (RATE,)),
    ):
        whole, *_ = run(partial(prepare, sizes, start=Start.INPUTS), records, times, *rest)
        batch = empty_batch(records[chosen], np.zeros(chosen.size), times, len(OUTPUTS), paired=True)
        prepare(sizes, OUTPUTS, batch, *rest, start=Start.INPUTS)()
        assert np.array_equal(batch.outputs[:, : chosen.size], whole[:, chosen])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 2, 3), (12, 10, 11)], ids=str)
@pytest.mark.parametrize("solve", [flow, descent])
def test_both_forms_of_the_kernel_give_the_same_bits(solve, shape):
    sizes = Sizes(*shape)
    records = draw_inputs_records(sizes, np.arange(5), law_of(20))
    loaded, special = (solve(sizes, records, specialise=special)[0] for special in (False, True))
    assert np.array_equal(loaded, special)


@pytest.mark.parametrize("shape", [(4, 2, 3), pytest.param((10, 9, 8), marks=pytest.mark.slow)], ids=str)
def test_parts_on_arrays_are_those_on_lanes(shape):
    sizes = Sizes(*shape)
    records = draw_inputs_records(sizes, np.arange(WIDTH), law_of(20))
    code = Plain(lambda value: np.full(WIDTH, value), sizes.unreduced)
    ws = inputs_flow.InputsFlow.plain(sizes.unreduced)
    ws.busy[()], ws.fresh[()], ws.next_time[()] = 1.0, 1.0, 0.3
    ws.tolerance[()], ws.max_steps[()] = CONTROL
    ws.decay[0], ws.decay[1] = DECAY
    inputs_flow.begin_flow(code, ws, records.T)
    while (ws.busy[()] > 0.0).any():
        inputs_flow.attempt(code, ws)
        ws.busy[()] = np.where(ws.event[()] == 0.0, ws.busy[()], 0.0)
    leave(code, ws)
    out, *_ = flow(sizes, records, times=np.array([0.3]))
    own = inputs.inputs_loss, inputs.write_inputs_norms
    Observer(OUTPUTS, True, *own).observe(code, ws)
    assert np.allclose([ws.outputs[output] for output in OUTPUTS], out[..., 0], rtol=1e-9, atol=1e-10)

    walk = inputs_flow.InputsDescent.plain(sizes.unreduced)
    inputs_flow.begin_descent(code, walk, records.T, np.full(WIDTH, RATE), DECAY)
    inputs_flow.walk_on_inputs(code, walk, 5)
    Observer(OUTPUTS, True, *own).observe(code, walk)
    out, *_ = descent(sizes, records, steps=np.array([5]))
    assert np.allclose([walk.outputs[output] for output in OUTPUTS], out[..., 0], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("by_blas", [False, True], ids=["lanes", "blas"])
def test_runs_that_fail_say_so(by_blas):
    sizes = Sizes(3, 2, 3)
    records = draw_inputs_records(sizes, np.arange(3), law_of(9))
    out, status, _ = descent(sizes, records, rate=50.0, by_blas=by_blas)
    assert (status == Status.DIVERGED).all() and np.isnan(out[:, :, -1]).all()
    assert np.isfinite(out[:, :, 0]).all()
    out, status, call = flow(sizes, records, control=FlowControl(1e-11, 5), by_blas=by_blas)
    assert (status == Status.TOO_STIFF).all() and np.isnan(out[:, :, -1]).all()
    assert (call.arguments[-1] <= 5).all()


@pytest.mark.parametrize("step", ["flow", "gradient_descent"])
@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 3, 3), (90, 100, 20)], ids=str)
def test_compilation_knows_these_kernels(step, shape):
    """The kernel that is compiled ahead is the one that a batch calls."""
    sizes = Sizes(*shape)
    kernel = Kernel(step, sizes, OUTPUTS, start=Start.INPUTS)
    records = draw_inputs_records(sizes, np.arange(2), law_of(9))
    call = (flow if step == "flow" else descent)(sizes, records, TIMES[:1] if step == "flow" else STEPS[:1])[
        2
    ]
    assert kernel.tier == ("blas" if shape[0] == 90 else "vector")
    assert kernel.call().function is call.function
    assert kernel.call().compiled
    assert kernel.key != Kernel(step, sizes, OUTPUTS, start=Start.RAW).key
    assert kernel.seconds > 0.0


def test_what_cannot_be_drawn_is_refused():
    sizes, seeds = Sizes(4, 2, 3), np.arange(3)
    aligned = Problem(DataLaw(9), problem("aligned", 9, 1.5, 1.0).start, 1.0)
    with pytest.raises(TypeError, match="no raw starts"):
        draw_inputs_records(sizes, seeds, aligned)
    with pytest.raises(ValueError, match=r"there are 3 seeds, but lams has the shape \(2,\)"):
        draw_inputs_records(sizes, seeds, aligned, lams=np.zeros(2))
    with pytest.raises(ValueError, match="N_h = 2 is too narrow"):
        draw_inputs_records(sizes, seeds, aligned, lams=np.zeros(3), kappa=1.0)
