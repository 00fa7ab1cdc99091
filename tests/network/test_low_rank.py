"""LoRA: results are in the variables of the user, and meet the plain flow of A and B."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import fastlin as fl
from fastlin.networks.low_rank import pretrained_map
from fastlin.networks.stacks import Networks, Tasks
from fastlin.tasks.adapted import residual_task
from tests import reference
from tests.networks import relative

TIMES = [0.0, 0.3, 2.0]
ADAPTER = ["adapter_norm", "adapter_alignment", "recovered_rank"]


def drawn(shape=(4, 3), seed=0, samples=None, variance=1.0):
    """Return a task and a map W0 of sizes (N_i, N_o)."""
    rng = np.random.default_rng([seed, *shape])
    target, w0 = rng.standard_normal((2, *shape[::-1]))
    if samples is None:
        return fl.Task.from_sigma(target, variance * np.eye(shape[0])), w0
    x = rng.standard_normal((shape[0], samples))
    return fl.Task(x, target @ x + rng.standard_normal((shape[1], samples))), w0


@st.composite
def problems(draw):
    """Draw the arguments of `fl.lora`, for inputs that are exact."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    task, w0 = drawn(shape, draw(st.integers(0, 10**6)), variance=draw(st.sampled_from([1.0, 0.3])))
    numbers = st.floats(0.3, 2.0)
    return (task, w0, draw(st.integers(1, 6))), {
        "alpha": draw(numbers),
        "scaling": draw(st.sampled_from(["alpha/r", "alpha/sqrt(r)"])),
        "init": draw(st.sampled_from(["orthonormal", "spectral"])),
        "init_scale": draw(numbers),
        "learning_rates": (draw(numbers), draw(numbers)),
        "seed": draw(st.integers(0, 100)),
    }


def plain(task, w0, net, times):
    """Integrate the gradient flow of A and B by its definition: the list of (A, B)."""
    c, (eta_a, eta_b) = task.gain, task.learning_rates
    a, b = net.w1, net.w2

    def pair(flat):
        return flat[: a.size].reshape(a.shape), flat[a.size :].reshape(b.shape)

    def slope(_, flat):
        first, second = pair(flat)
        error = task.sigma_yx - (w0 + c * second @ first) @ task.sigma_xx
        return np.concatenate([eta_a * c * (second.T @ error).ravel(), eta_b * c * (error @ first.T).ravel()])

    start = np.concatenate([a.ravel(), b.ravel()])
    run = solve_ivp(slope, (0.0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-12, atol=1e-14)
    return [pair(state) for state in run.y.T]


def truncation(w0, target, rank):
    """Return half the square of what a map of a rank leaves of the target less W0."""
    return 0.5 * np.sum(np.linalg.svd(target - w0)[1][rank:] ** 2)


@given(problems())
def test_exact_is_the_plain_flow_of_a_and_b(problem):
    (task, w0, rank), options = problem
    tuned, net = fl.lora(task, w0, rank, **options)
    ds = fl.exact(tuned, net, TIMES, ["w2w1", "loss", "w1tw1", "w2w2t"])
    for k, (a, b) in enumerate(plain(tuned, w0, net, TIMES)):
        product = w0 + tuned.gain * b @ a
        assert relative(ds.w2w1.values[k], product) < 1e-9
        assert relative(ds.w1tw1.values[k], a.T @ a) < 1e-9
        assert relative(ds.w2w2t.values[k], b @ b.T) < 1e-9
        root = np.sqrt(task.variance)
        loss = 0.5 * np.sum((task.sigma_yx / root - product * root) ** 2)
        assert ds.loss.values[k] == pytest.approx(loss, rel=1e-8, abs=1e-12)


@given(problems())
def test_flow_is_exact(problem):
    (task, w0, rank), options = problem
    pair = fl.lora(task, w0, rank, **options)
    observables = [*ADAPTER[:1], "kernel_distance", "ntk_norm", "w2w1", "effective_rank"]
    ds, other = (solve(*pair, TIMES, observables=observables) for solve in (fl.exact, fl.flow))
    for name in observables:
        assert relative(other[name].values, ds[name].values) < 1e-6, name


@given(problems())
def test_the_limit_is_the_truncation(problem):
    (task, w0, rank), options = problem
    tuned, net = fl.lora(task, w0, rank, **options)
    end = fl.exact(tuned, net, [math.inf], ["loss", "w2w1"]).isel(time=0)
    target = task.sigma_yx / task.variance
    least = task.variance * truncation(w0, target, rank)
    assert float(end.loss) == pytest.approx(least, rel=1e-9, abs=1e-12)
    if rank >= min(target.shape):
        assert relative(end.w2w1.values, target) < 1e-6


@pytest.mark.parametrize("init", ["gaussian", "orthonormal"])
def test_gradient_descent_converges_with_order_one(init):
    """Halved steps halve the error, also on inputs of any kind, where only the flow is known."""
    task, w0 = drawn(samples=9) if init == "gaussian" else drawn()
    pair = fl.lora(task, w0, 2, alpha=2.0, init=init, learning_rates=(1.0, 4.0))
    errors = []
    for steps in (200, 400):
        gd = fl.gradient_descent(*pair, 1.0 / steps, steps, steps // 4, ["w2w1", "loss", "kernel_distance"])
        flow = fl.flow(*pair, gd.time, 1e-12, observables=["w2w1", "loss", "kernel_distance"])
        assert gd.time.values[-1] == pytest.approx(1.0)
        errors.append([float(abs(gd - flow)[name].max()) for name in gd])
    ratios = np.divide(*errors)
    assert (abs(ratios - 2.0) < 0.1).all(), ratios


def test_minibatches_descend_on_the_samples_of_the_user():
    """All samples in one batch are the gradient of all samples."""
    task, w0 = drawn(samples=9)
    pair = fl.lora(task, w0, 2, init="gaussian")
    full, batch = (fl.gradient_descent(*pair, 0.01, 50, 50, ["w2w1"], batch_size=size) for size in (None, 9))
    assert relative(batch.w2w1.values, full.w2w1.values) < 1e-12


@pytest.mark.parametrize("samples", [None, 9])
def test_the_kernel_is_that_of_the_function(samples):
    """The NTK is J J^T of W0 + c B A over A and B, each times its learning rate."""
    task, w0 = drawn(samples=9)
    task = task if samples else task.whiten()
    rates = (0.5, 2.0)
    tuned, net = fl.lora(
        task, w0, 2, alpha=3.0, init="orthonormal" if samples is None else "gaussian", learning_rates=rates
    )
    ds = fl.flow(
        tuned,
        net,
        [0.0, 0.5],
        observables=["w1tw1", "w2w2t", "ntk", "ntk_norm", "kernel_distance", "network_function", "w2w1"],
    )
    x, unit = task.X, tuned.gain**2
    dense = []
    for k in range(2):
        similarity = rates[1] * x.T @ ds.w1tw1.values[k] @ x
        kernel = unit * (np.kron(np.eye(3), similarity) + rates[0] * np.kron(ds.w2w2t.values[k], x.T @ x))
        dense.append(kernel)
        assert relative(ds.ntk.values[k].reshape(kernel.shape), kernel) < 1e-12
        assert float(ds.ntk_norm[k]) == pytest.approx(np.linalg.norm(kernel) / 9, rel=1e-12)
        assert relative(ds.network_function.values[k], ds.w2w1.values[k] @ x) < 1e-12
    assert float(ds.kernel_distance[1]) == pytest.approx(reference.kernel_distance(*dense), rel=1e-9)
    assert relative(ds.w2w1.values[0], w0) == 0.0


@pytest.mark.parametrize("variance", [1.0, 0.3])
@pytest.mark.parametrize("n_h", [1, 2, 5])
def test_the_pretrained_map_is_the_end_of_the_flow(variance, n_h):
    task, _ = drawn(variance=variance)
    net = fl.balanced_init(fl.Architecture(4, n_h, 3), 1.0, seed=1)
    end = fl.exact(task, net, [math.inf], ["w2w1"]).w2w1.values[0]
    assert relative(pretrained_map(task, n_h), end) < 1e-9


def test_the_residual_has_the_samples_and_the_trace_of_what_is_left():
    task, w0 = drawn(samples=9)
    left = residual_task(fl.lora(task, w0, 2, 3.0)[0])
    np.testing.assert_allclose(left.X, 1.5 * task.X)
    np.testing.assert_allclose(left.Y, task.Y - w0 @ task.X)
    np.testing.assert_allclose(left.sigma_yx, left.Y @ left.X.T / 9, atol=1e-13)
    assert left.sigma_yy_trace == pytest.approx(np.sum(left.Y**2) / 9, rel=1e-12)


# ---------------------------------------------------------------- the start


def test_orthonormal_rows_have_the_scale_and_the_balance():
    task, w0 = drawn((6, 4))
    _, net = fl.lora(task, w0, 3, init_scale=0.5)
    np.testing.assert_allclose(net.w1 @ net.w1.T, 0.25 * np.eye(3), atol=1e-15)
    assert net.lam == pytest.approx(-0.25, rel=1e-14)
    assert not net.w2.any()
    _, tall = fl.lora(task, w0, 8, init_scale=0.5)
    np.testing.assert_allclose(tall.w1.T @ tall.w1, 0.25 * np.eye(6), atol=1e-15)


def test_lam_of_the_flow_is_that_of_the_substitution():
    """``lam_U = -c^2 eta_B a^2`` in units of ``c^2 sqrt(eta_A eta_B)``."""
    task, w0 = drawn()
    pair = fl.lora(task, w0, 2, 5.0, init_scale=0.5, learning_rates=(1.0, 16.0))
    assert fl.exact(*pair, [0.0], ["loss"]).attrs["lam"] == pytest.approx(-4.0 * 0.25, rel=1e-14)


def test_spectral_rows_span_the_top_directions_of_the_residual():
    task, w0 = drawn((6, 4))
    tuned, net = fl.lora(task, w0, 2, init="spectral")
    ds = fl.exact(tuned, net, [0.0, 0.1, math.inf], [*ADAPTER])
    np.testing.assert_allclose(ds.adapter_alignment.sel(side="input"), 1.0, rtol=1e-12)
    np.testing.assert_allclose(ds.adapter_alignment.sel(side="output"), [0.0, 1.0, 1.0], rtol=1e-12)


def test_gaussian_rows_have_unit_length_on_average():
    task, w0 = drawn((400, 4))
    _, net = fl.lora(task, w0, 3, init="gaussian", init_scale=2.0)
    np.testing.assert_allclose(np.sum(net.w1**2, axis=1), 4.0, rtol=0.2)


def test_adapters_of_dependent_inputs_lie_on_their_span():
    x, y = np.random.default_rng(0).standard_normal((2, 5, 3))
    task = fl.Task(x, y[:2]).whiten()
    assert task.inputs == "projector"
    tuned, net = fl.lora(task, np.ones((2, 5)), 2)
    np.testing.assert_allclose(net.w1 @ task.span @ task.span.T, net.w1, atol=1e-14)
    ds = fl.exact(tuned, net, [0.0, math.inf], ["loss", "w2w1"])
    assert ds.loss.values[-1] == pytest.approx(task.loss_floor, rel=1e-9)


@pytest.mark.parametrize("init", ["orthonormal", "gaussian"])
def test_draws_are_functions_of_the_seed(init):
    task, w0 = drawn()
    first, same, other = (fl.lora(task, w0, 2, init=init, seed=seed)[1].w1 for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert relative(first, other) > 0.1


# ---------------------------------------------------------------- observables


def test_adapter_observables_follow_the_learning_of_modes():
    """Modes 3, 2, 1 are learned one after the other from a small start, and a rank of 2 learns two."""
    target = np.diag([3.0, 2.0, 1.0])
    task, net = fl.lora(fl.Task.from_sigma(target + 1.0), np.ones((3, 3)), 2, 2.0, init_scale=1e-3, seed=3)
    ds = fl.exact(task, net, [0.0, 2.8, 40.0], ADAPTER)
    assert ds.recovered_rank.values.tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_allclose(ds.adapter_norm.values[[0, 2]], [0.0, math.sqrt(13.0)], atol=1e-6)
    np.testing.assert_allclose(ds.adapter_alignment.values[2], 1.0, atol=1e-6)
    rows = np.linalg.svd(net.w1)[2][:2]
    assert ds.adapter_alignment.values[0] == pytest.approx([0.0, np.sum(rows[:, :2] ** 2) / 2])


def test_a_turning_adapter_recovers_no_more_directions_than_its_rank():
    """An adapter of rank 1 that has learned the second mode turns to the first, and passes between them."""
    task, _ = fl.lora(fl.Task.from_sigma(np.diag([3.0, 2.0])), np.zeros((2, 2)), 1)
    net = fl.Network([[1e-3, 1.0]], np.zeros((2, 1)))
    ds = fl.exact(task, net, np.linspace(0.0, 30.0, 301), ["recovered_rank", "w2w1"])
    turning = np.abs(ds.w2w1.values[:, 0, 1]) > 1.2
    assert turning.any()
    assert (ds.recovered_rank.values[turning] == 0.0).all()
    assert set(ds.recovered_rank.values.tolist()) == {0.0, 1.0}


def test_there_is_no_alignment_where_nothing_is_left_to_learn():
    task = fl.Task.from_sigma(np.eye(3))
    ds = fl.exact(*fl.lora(task, np.eye(3), 2), [0.0], ADAPTER)
    assert np.isnan(ds.adapter_alignment.values).all()
    assert ds.recovered_rank.item() == 0.0


def test_general_inputs_ask_for_the_least_squares_map():
    task, w0 = drawn(samples=9)
    tuned, net = fl.lora(task, w0, 3, alpha=3.0, init="gaussian", init_scale=0.1)
    best = task.Y @ np.linalg.pinv(task.X)
    end = fl.flow(tuned, net, [200.0], observables=ADAPTER).isel(time=0)
    assert float(end.adapter_norm) == pytest.approx(np.linalg.norm(best - w0), rel=1e-6)
    assert float(end.recovered_rank) == 3.0


# ---------------------------------------------------------------- the public function


def test_equations_have_the_frozen_map():
    task, w0 = drawn(samples=9)
    tuned, net = fl.lora(task.whiten(), w0, rank=2)
    loss, norm = "L = |Y - (W0 + gain W2 W1) X|_F^2 / (2 P)", "|c W2 W1|_F, c the gain of the task"
    both = fl.exact([tuned, tuned], net, TIMES, ["loss", "adapter_norm"])
    for result in (fl.exact(tuned, net, TIMES, ["loss", "adapter_norm"]), both):
        assert (result.loss.attrs["equation"], result.adapter_norm.attrs["equation"]) == (loss, norm)


def test_the_task_given_is_kept():
    task, w0 = drawn(samples=9)
    text = repr(task)
    tuned, net = fl.lora(task, fl.Network(w0[:, :2].T @ w0, w0[:, :2]), 2, 4.0)
    assert (repr(task), task.gain, task.learning_rates) == (text, 1.0, None)
    assert repr(tuned) == text.replace(">", ", function W0 + 2 W2 W1>")
    np.testing.assert_allclose(tuned.offset, w0[:, :2] @ w0[:, :2].T @ w0)
    ds = fl.flow(tuned, net, [0.0], observables=["loss"])
    assert (ds.attrs["gain"], ds.attrs["function"]) == (2.0, "W0 + gain W2 W1")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"alpha": -1.0}, "alpha is -1"),
        ({"w0": np.ones((4, 3))}, r"w0 has shape \(4, 3\); needed is \(3, 4\)"),
        ({"scaling": "alpha"}, "scaling is 'alpha'"),
        ({"init": "normal"}, "init is 'normal'"),
        ({"init_scale": 0.0}, "init_scale is 0"),
        ({"learning_rates": (1.0, 0.0)}, r"learning_rates\[1\] is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_input_is_named(changed, message):
    task, w0 = drawn()
    with pytest.raises(fl.InputError, match=message):
        fl.lora(**({"task": task, "w0": w0, "rank": 2} | changed))


def test_rates_that_contradict_the_task_are_refused():
    task, w0 = drawn()
    pair = fl.lora(task, w0, 2, learning_rates=(1.0, 16.0))
    for solve in (fl.exact, fl.flow):
        with pytest.raises(
            fl.InputError, match=r"learning_rates is \(1.0, 2.0\), and the task has \(1.0, 16.0\)"
        ):
            solve(*pair, [0.0], learning_rates=(1.0, 2.0))
        solve(*pair, [0.0], learning_rates=(1.0, 16.0))
    with pytest.raises(fl.InputError, match="needed is one number"):
        fl.gradient_descent(*pair, (0.1, 0.2), 10)


def test_adapters_are_not_carried_from_task_to_task():
    """Their rates and their frozen map belong to one task."""
    task, net = fl.lora(*drawn(), 2)
    with pytest.raises(fl.InputError, match=r"^the task is one of fastlin\.lora"):
        net.after(task, 1.0)
    with pytest.raises(fl.InputError, match=r"^stages\[1\]: the task is one of fastlin\.lora"):
        fl.sequence([(drawn()[0], 1.0), (task, 1.0)], net)


def test_exact_refuses_a_gaussian_adapter_and_names_the_flow():
    task, w0 = drawn()
    with pytest.raises(fl.InputError, match=r"fastlin.flow takes any weights"):
        fl.exact(*fl.lora(task, w0, 2, init="gaussian"), [0.0])


def test_an_adapted_task_is_not_whitened():
    task, w0 = drawn(samples=9)
    with pytest.raises(fl.InputError, match="whiten the task that"):
        fl.lora(task, w0, 2)[0].whiten()


@pytest.mark.parametrize("solver", ["exact", "flow", "gradient_descent"])
def test_a_stack_of_adapters_has_the_numbers_of_each(solver):
    """Each adapter has a task, a frozen map and a gain of its own."""
    singles = []
    for seed, alpha in enumerate((0.5, 1.0, 3.0)):
        task, w0 = drawn(seed=seed)
        singles.append(fl.lora(task, w0, 2, alpha, learning_rates=(0.5, 2.0), seed=seed))
    tasks, nets = zip(*singles, strict=True)
    weights = (np.stack([getattr(net, name) for net in nets]) for name in ("w1", "w2"))
    stack = Tasks(tasks, dims=["seed"]), Networks(*weights, dims=["seed"])
    observables = [*ADAPTER, "loss", "kernel_distance", "ntk_norm", "effective_rank", "w2w1", "weight_norms"]
    grid = (0.01, 200, 100) if solver == "gradient_descent" else (TIMES,)
    found = getattr(fl, solver)(*stack, *grid, observables=observables)
    for index, pair in enumerate(singles):
        one = getattr(fl, solver)(*pair, *grid, observables=observables)
        for name in observables:
            assert relative(found[name].values[index], one[name].values) < 1e-10, name
