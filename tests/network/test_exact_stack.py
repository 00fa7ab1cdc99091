"""The closed form of a stack is that of each of its networks, for all families that have one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.observables.registry import REGISTRY
from tests.networks import OVER_TIME, relative

BY_KERNEL = ["loss", "kernel_distance", "ntk_norm", "weight_norms"]
# Alignment is a ratio of numbers that vanish along the flow.
OF_QQT = [name for name in OVER_TIME if not REGISTRY[name].needs_samples and name != "alignment"]
TIMES = [0.7, 0.0, 4.0, np.inf]


def task_of(rng, n_i, n_o, kind):
    """Return a task whose inputs have a closed form."""
    if kind == "samples":
        return fl.random_regression(fl.Architecture(n_i, 1, n_o), n_i + 2, seed=int(rng.integers(100)))
    rank = n_i - 1 if kind == "projector" and n_i > 1 else n_i
    v = np.linalg.qr(rng.standard_normal((n_i, rank)))[0]
    c = 1.0 if kind == "white" else rng.uniform(0.3, 3.0)
    return fl.Task.from_sigma(rng.standard_normal((n_o, n_i)) @ v @ v.T, c * v @ v.T, rng.uniform(0.0, 1.0))


def close(actual, expected):
    """Tell whether numbers are equal but for rounding errors of numbers of their size, and of 1."""
    return np.abs(actual - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max())


def agree(together, dims, alone, names):
    """Check the values of one element of a stack."""
    part = together.isel(dims)
    for name in names:
        assert part[name].dims == alone[name].dims
        assert part[name].attrs == alone[name].attrs
        assert close(part[name].values, alone[name].values), name
    for name in ("lam", "kappa"):
        number = part.attrs.get(name, part.coords[name].item() if name in part.coords else None)
        assert number == pytest.approx(alone.attrs[name], rel=1e-11, abs=1e-14)


@pytest.mark.filterwarnings("ignore::fastlin.SaddleWarning")
@settings(max_examples=30)
@given(
    shape=st.tuples(*(st.integers(1, 4),) * 3),
    kinds=st.lists(st.sampled_from(["samples", "white", "isotropic", "projector"]), min_size=1, max_size=3),
    lams=st.lists(
        st.floats(-3, 3).filter(lambda lam: lam == 0.0 or abs(lam) > 0.01), max_size=2, unique=True
    ),
    kappas=st.sampled_from([[0.0], [0.5, 0.0]]),
    rates=st.sampled_from([(1.0, 1.0), (0.5, 0.5)]),
    kernel=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_stack_has_the_results_of_each_network(shape, kinds, lams, kappas, rates, kernel, seed):
    rng, (n_i, n_h, n_o) = np.random.default_rng(seed), shape
    arch, tasks = fl.Architecture(n_i, n_h, n_o), [task_of(rng, n_i, n_o, kind) for kind in kinds]
    if n_h < n_i + n_o or "projector" in kinds:
        kappas = [0.0]
    nets = fl.balanced_init(arch, lams or 0.4, seed=[3, 1], kappa=kappas)
    names = BY_KERNEL if kernel else OF_QQT
    if "projector" in kinds:
        tasks = [tasks[kinds.index("projector")]]
        nets = fl.balanced_init(arch, lams or 0.4, seed=[3, 1], task=tasks[0])
    together = fl.exact(tasks, nets, TIMES, names, learning_rates=rates)
    for index in np.ndindex(*nets.shape):
        at = dict(zip(nets.dims, index, strict=True))
        for number, task in enumerate(tasks):
            alone = fl.exact(task, nets[index], TIMES, names, learning_rates=rates)
            agree(together, at | {"task": number}, alone, names)


def test_networks_have_the_coordinates_of_their_parameters():
    arch = fl.Architecture(3, 7, 2)
    tasks = fl.random_regression(arch, 5, seed=range(4))
    nets = fl.balanced_init(arch, [-1.0, 0.0, 1.0], init_scale=[0.1, 1.0], seed=range(4), kappa=[0.0, 0.5])
    ds = fl.exact(tasks, nets, [0.0, 1.0], ["loss", "fit_lam"])
    assert ds.loss.dims == ("init_scale", "kappa", "seed", "lam", "time")
    assert ds.fit_lam.dims == ds.loss.dims[:-1]
    assert ds.seed.values.tolist() == [0, 1, 2, 3]
    one = ds.sel(init_scale=0.1, kappa=0.5, seed=2, lam=-1.0)
    net = fl.balanced_init(arch, -1.0, 0.1, 2, kappa=0.5)
    alone = fl.exact(fl.random_regression(arch, 5, seed=2), net, [0.0, 1.0], ["loss", "fit_lam"])
    assert relative(one.loss, alone.loss) < 1e-12
    assert float(one.fit_lam) == pytest.approx(float(alone.fit_lam), rel=1e-12)


def test_time_scales_of_a_stack():
    arch = fl.Architecture(4, 2, 4)
    tasks, nets = (
        fl.random_regression(arch, 9, seed=range(3)),
        fl.balanced_init(arch, [-0.5, 0.5], seed=range(3)),
    )
    names = ["convergence_time", "rotation_time", "escape_time"]
    ds = fl.exact(tasks, nets, [0.0], names, fraction=0.9)
    assert ds.convergence_time.attrs["fraction"] == 0.9
    for seed, lam in np.ndindex(3, 2):
        alone = fl.exact(tasks[seed], nets[seed, lam], [0.0], names, fraction=0.9)
        assert all(ds[name].values[seed, lam] == alone[name].values for name in names)


def test_decay_of_a_stack_and_its_networks():
    arch = fl.Architecture(3, 4, 2)
    tasks, nets = fl.random_regression(arch, 5, seed=range(3)), fl.balanced_init(arch, 0.0, seed=range(3))
    numbers = ["loss", "weight_norms", "effective_rank", "balance_drift"]
    for names in (numbers, [*numbers, "w2w1"]):
        ds = fl.exact(tasks, nets, [0.5, 2.0, np.inf], names, decay=0.1)
        for seed in range(3):
            alone = fl.exact(tasks[seed], nets[seed], [0.5, 2.0, np.inf], names, decay=0.1)
            assert all(relative(ds[name].values[seed], alone[name].values) < 1e-12 for name in names)


@pytest.mark.slow
def test_networks_too_large_for_lanes():
    """Their closed form takes one network at a time, and observables are those of QQ^T."""
    arch = fl.Architecture(48, 45, 46)
    tasks, nets = fl.random_regression(arch, 50, seed=range(2)), fl.balanced_init(arch, 0.5, seed=range(2))
    ds = fl.exact(tasks, nets, [0.5], ["loss", "kernel_distance"])
    alone = fl.exact(tasks[1], nets[1], [0.5], ["loss", "kernel_distance"])
    assert all(close(ds[name].values[1], alone[name].values) for name in ds)


def test_the_ntk_of_a_stack_is_lazy():
    arch = fl.Architecture(2, 2, 2)
    tasks, nets = (
        fl.random_regression(arch, 3, seed=range(2)),
        fl.balanced_init(arch, [0.5, 1.0], seed=range(2)),
    )
    kernel = fl.exact(tasks, nets, [0.0, 1.0], ["ntk"]).ntk
    assert kernel.chunks is not None
    alone = fl.exact(tasks[1], nets[1, 0], [0.0, 1.0], ["ntk"]).ntk
    assert relative(kernel.isel(seed=1, lam=0).values, alone.values) < 1e-12


def test_a_stack_warns_of_a_saddle_once():
    nets = fl.balanced_init(fl.Architecture(1, 1, 1), 0.0, seed=range(8))
    with pytest.warns(fl.SaddleWarning) as caught:
        fl.exact(fl.Task.from_sigma([[1.0]]), nets, [np.inf], ["loss"])
    assert [each.filename for each in caught] == [__file__]


def test_errors_name_the_element():
    arch = fl.Architecture(2, 2, 2)
    general = fl.Task.from_sigma(np.eye(2), np.diag([1.0, 2.0]))
    white, nets = fl.Task.from_sigma(np.eye(2)), fl.balanced_init(arch, [0.0, 1.0])
    with pytest.raises(fl.InputError, match=r"^at task = 1, lam = 0\.0: the closed form needs inputs"):
        fl.exact([white, general], nets, [1.0])
    with pytest.raises(fl.InputError, match=r"^at seed = 0: the weights are not balanced"):
        fl.exact(white, fl.random_init(arch, seed=range(3)), [1.0])
    with pytest.raises(fl.InputError, match=r"^at lam = 1\.0: decay is exact only"):
        fl.exact(white, nets, [1.0], decay=0.1)
    with pytest.raises(fl.InputError, match="samples; observables over samples need tasks"):
        tasks = [fl.random_regression(arch, count) for count in (3, 4)]
        fl.exact(tasks, nets, [1.0], ["rsm_input"])


def test_default_observables_of_tasks_with_unequal_samples_need_none():
    arch = fl.Architecture(2, 2, 2)
    ds = fl.exact([fl.random_regression(arch, count) for count in (3, 4)], fl.balanced_init(arch, 1.0), [1.0])
    assert "loss" in ds
    assert "rsm_input" not in ds


def test_the_memory_of_a_stack_is_checked():
    arch = fl.Architecture(2, 2, 2)
    task, nets = fl.random_regression(arch, 3000), fl.balanced_init(arch, [0.0, 1.0], seed=range(1000))
    with pytest.raises(fl.InputError, match=r"of 2,000 networks at 100 times need .*rsm_\w+ the most"):
        fl.exact(task, nets, np.arange(100.0))
