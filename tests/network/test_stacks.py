"""Stacks of networks and tasks: how they are made, indexed and broadcast."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.dimensions import RESERVED
from fastlin.networks.stacks import pairs
from fastlin.observables.registry import REGISTRY

ARCH = fl.Architecture(3, 6, 2)
OWN = fl.Task.from_sigma(np.eye(2, 3))


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["gaussian", "torch", "zero_output", "random_regression", "aligned"]),
    lams=st.sampled_from([-0.5, [-1.0, 0.0, 2.0]]),
    scales=st.sampled_from([0.3, [0.1, 1.0]]),
    kappas=st.sampled_from([0.0, 0.7, [0.0, 0.5]]),
    seeds=st.sampled_from([4, range(2), np.array([5, 1])]),
    rates=st.sampled_from([(1.0, 1.0), (2.0, 0.5)]),
)
def test_balanced_networks_are_those_of_single_calls(kind, lams, scales, kappas, seeds, rates):
    options = {
        "kind": kind,
        "learning_rates": rates,
        "n_samples": 5 if kind == "random_regression" else None,
        "task": fl.random_regression(ARCH, 5) if kind == "aligned" else None,
    }
    arch = fl.Architecture(2, 5, 3) if kind != "aligned" else ARCH
    nets = fl.balanced_init(arch, lams, scales, seeds, kappa=kappas, **options)
    given = {"init_scale": scales, "kappa": kappas, "seed": seeds, "lam": lams}
    lists = {name: list(value) for name, value in given.items() if np.ndim(value)}
    if not lists:
        assert isinstance(nets, fl.Network)
        return
    assert nets.dims == tuple(lists)
    for index in np.ndindex(*nets.shape):
        chosen = given | {name: lists[name][at] for name, at in zip(lists, index, strict=True)}
        same(nets[index], fl.balanced_init(arch, **chosen, **options))


def same(net, expected):
    """Check that two networks are equal."""
    assert np.array_equal(net.w1, expected.w1)
    assert np.array_equal(net.w2, expected.w2)
    assert net.balance == expected.balance
    for number, wanted in ((net.lam, expected.lam), (net.kappa, expected.kappa)):
        assert number == pytest.approx(wanted, rel=1e-13, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("kind", ["lecun", "zero_output"])
@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 9, 2), (1, 1, 1)])
def test_raw_networks_are_those_of_single_calls(kind, shape):
    arch = fl.Architecture(*shape)
    nets = fl.random_init(arch, kind, [0.2, 1.0], range(3))
    assert nets.dims == ("init_scale", "seed")
    for scale, seed in np.ndindex(nets.shape):
        same(nets[scale, seed], fl.random_init(arch, kind, [0.2, 1.0][scale], seed))


def test_balances_of_given_weights_are_determined_as_for_one_network():
    wide = fl.balanced_init(fl.Architecture(2, 6, 2), [0.0, 1.5], kappa=[0.0, 0.5])
    nets = fl.Networks(wide.w1, wide.w2, dims=wide.dims)
    zero = fl.Networks(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)))
    for stack in (nets, zero):
        for index in np.ndindex(*stack.shape):
            same(stack[index], fl.Network(stack.w1[index], stack.w2[index]))


def test_tasks_are_those_of_single_calls():
    tasks = fl.random_regression(ARCH, 5, [0.5, 2.0], range(3))
    assert tasks.dims == ("target_scale", "seed")
    one = fl.random_regression(ARCH, 5, 2.0, 1)
    assert np.array_equal(tasks[1, 1].sigma_yx, one.sigma_yx)
    assert np.array_equal(tasks[1, 1].X, one.X)


def test_indexing_is_that_of_numpy_and_keeps_coordinates():
    nets = fl.balanced_init(ARCH, [0.0, 1.0, 2.0], seed=range(4))
    assert isinstance(nets[1, 2], fl.Network)
    assert nets[..., 1].sizes == {"seed": 4}
    part = nets.isel(seed=[3, 0], lam=slice(1, None))
    assert part.coords["seed"].tolist() == [3, 0]
    assert part.coords["lam"].tolist() == [1.0, 2.0]
    assert np.array_equal(part.w1, nets.w1[[3, 0], 1:])
    assert [each.sizes for each in nets] == [{"lam": 3}] * 4
    with pytest.raises(fl.InputError, match="no dimension 'kappa'; allowed: seed, lam"):
        nets.isel(kappa=0)
    with pytest.raises(IndexError):
        nets[0, 0, 0]
    with pytest.raises(IndexError):
        nets[4]


def test_dimensions_of_tasks_come_first_and_those_in_common_are_shared():
    nets = fl.balanced_init(ARCH, [0.0, 1.0], init_scale=[0.1, 0.2, 0.3], seed=range(2))
    tasks = fl.random_regression(ARCH, 5, [1.0, 2.0], range(2))
    both = pairs(tasks, nets)
    assert both.dims == ("target_scale", "init_scale", "seed", "lam")
    assert both.at(both.size - 1) == "target_scale = 2.0, init_scale = 0.3, seed = 1, lam = 1.0"
    for point, (target, scale, seed, lam) in enumerate(np.ndindex(*both.shape)):
        assert both.tasks[both.task_of[point]] is tasks[target, seed]
        assert np.array_equal(both.w1[both.net_of[point]], nets.w1[scale, seed, lam])


def test_dimensions_of_results_are_reserved():
    own = {name.removesuffix("_2") for entry in REGISTRY.values() for name in entry.dims}
    assert own <= {*RESERVED}


def test_equal_tasks_of_a_stack_count_once():
    task = fl.random_regression(ARCH, 5)
    assert len(pairs([task, task], fl.balanced_init(ARCH, 0.0)).tasks) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fl.balanced_init(ARCH, []), "lam is empty"),
        (lambda: fl.balanced_init(ARCH, [0.0, "x"]), r"lam\[1\] is 'x'; a number is needed"),
        (lambda: fl.balanced_init(ARCH, 0.0, seed=range(-1, 2)), r"seed\[0\] is -1; allowed is 0"),
        (
            lambda: fl.balanced_init(fl.Architecture(2, 2, 2), 0.0, kappa=[0.0, 1.0]),
            "kappa is 1, and N_h = 2",
        ),
        (lambda: fl.Tasks([]), "tasks are empty"),
        (lambda: fl.Tasks(5), "tasks is 5; needed is a list of them"),
        (lambda: fl.Networks.of([]), "networks are empty"),
        (lambda: fl.Networks.of("net"), "networks is 'net'; needed is a list of them"),
        (lambda: fl.Networks.of(np.array(5)), r"networks\[0\] is 5; needed is one of class Network"),
        (lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), dims=5), "dims is 5; needed is a name"),
        (
            lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), coords=5),
            "coords is 5; needed is a mapping of dimensions to values",
        ),
        (
            lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), coords={"network": [[1, 2], [3]]}),
            "coordinate 'network' is .*; needed is a list",
        ),
        (lambda: fl.Tasks([1]), r"tasks\[0\] is 1; needed is one of class Task"),
        (
            lambda: fl.Tasks([fl.Task.from_sigma(np.eye(2)), fl.Task.from_sigma(np.eye(3))]),
            r"tasks\[1\] maps 3 inputs to 3 outputs, and tasks\[0\] maps 2 to 2",
        ),
        (lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((3, 1, 1))), "do not fit"),
        (lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), dims=["time"]), "'time' is no name"),
        (lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), dims=["a", "b"]), "a name each"),
        (
            lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), coords={"network": [1, 2, 3]}),
            "coordinate 'network' of shape",
        ),
        (
            lambda: fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), [0.0, 1.0], [0.0, 0.0]),
            r"at network = 1: the weights are not balanced",
        ),
        (lambda: fl.Networks([[[1e160]]], [[[1.0]]]), r"at network = 0: weights have entries up to 1e\+160"),
        (
            lambda: fl.exact(
                fl.random_regression(ARCH, 5, seed=range(2)), fl.balanced_init(ARCH, 0.0, seed=[0]), 1
            ),
            "dimension 'seed' has 2 tasks and 1 networks",
        ),
        (
            lambda: fl.exact(
                fl.random_regression(ARCH, 5, seed=[1]), fl.balanced_init(ARCH, 0.0, seed=[0]), 1
            ),
            "other coordinates of 'seed'",
        ),
        (lambda: fl.exact(OWN, fl.balanced_init(ARCH, [0.0])[:0], 1), r"empty, with sizes {'lam': 0}"),
        (
            lambda: fl.exact(fl.Tasks([OWN], dims=["loss"]), fl.balanced_init(ARCH, 0.0), 1),
            "'loss' is an observable and a dimension",
        ),
        (lambda: fl.exact([], fl.balanced_init(ARCH, 0.0), 1), "tasks are empty"),
        (lambda: fl.exact(fl.Task.from_sigma(np.eye(2)), [], 1), "networks are empty"),
        (
            lambda: fl.exact(fl.Task.from_sigma(np.eye(2)), fl.balanced_init(ARCH, [0.0]), 1),
            "the tasks map 2 inputs to 2 outputs, the networks 3-6-2",
        ),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(fl.InputError, match=message):
        make()


def test_a_single_dimension_may_be_a_text():
    nets = fl.Networks(np.ones((2, 1, 1)), np.ones((2, 1, 1)), dims="seed")
    assert nets.sizes == {"seed": 2}
