"""Structured tasks: samples have the statistics, sweeps draw the same tasks, and bad input is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.kernels.codes import Start
from fastlin.sweeps.spec.network_of import task_and_network

SHAPE = fl.Architecture(4, 3, 4)
# A kind, its table in a spec, and the function that gives the task of a seed.
PAIRS = [
    ("hierarchy", {"levels": 2}, lambda seed: fl.hierarchy(2)),
    (
        "student_teacher",
        {"rank": 2, "noise": 0.3, "n_samples": 9, "singular_values": [1.0, 3.0]},
        lambda seed: fl.student_teacher(SHAPE, 2, 0.3, seed, singular_values=[3.0, 1.0], n_samples=9),
    ),
    ("student_teacher", {"rank": 1}, lambda seed: fl.student_teacher(SHAPE, 1, seed=seed)),
    ("spectrum", {"power": 1.5}, lambda seed: fl.spectrum(SHAPE, power=1.5, seed=seed)),
    ("spectrum", {"singular_values": [2, 1]}, lambda seed: fl.spectrum(SHAPE, [2.0, 1.0], seed=seed)),
    (
        "autoencoder",
        {"spectrum": [4, 3, 2, 1]},
        lambda seed: fl.autoencoder(spectrum=[4.0, 3.0, 2.0, 1.0], seed=seed),
    ),
    (
        "autoencoder",
        {"power": 1.0, "noise": 0.2},
        lambda seed: fl.autoencoder(spectrum=1.0 / np.arange(1, 5), noise=0.2, seed=seed),
    ),
    ("autoencoder", {"power": 0}, lambda seed: fl.autoencoder(spectrum=np.ones(4), seed=seed)),
]
IDS = [f"{kind}-{'-'.join(table)}" for kind, table, _ in PAIRS]


def spec_of(kind, table, architecture="4-3-4"):
    axes = {"architecture": architecture, "seed": [0, 5], "lam": [-1.0]}
    dynamics = {"times": [0.0, 1.0], "solver": "flow"}
    return fl.Spec.from_dict({"axes": axes, "task": {"kind": kind, **table}, "dynamics": dynamics})


def problem_of(spec):
    return spec.problem({"init_scale": 1.0})


@pytest.mark.parametrize(("kind", "table", "function"), PAIRS, ids=IDS)
def test_the_function_and_the_kind_give_the_same_task(kind, table, function):
    problem = problem_of(spec_of(kind, table))
    for seed in (0, 5):
        given_task = function(seed)
        built, _ = task_and_network(kind, problem, SHAPE, seed, Start.BALANCED, 0.5, 0.0, 1.0)
        target = problem.task.draw(seed, SHAPE.sizes)
        for task in (given_task, built):
            assert np.array_equal(task.sigma_yx, target.sigma_yx)
            assert task.loss_floor == target.floor
            assert np.array_equal(task.sigma_xx, np.eye(4) if target.sigma_xx is None else target.sigma_xx)
        assert given_task.has_samples == built.has_samples
        if built.has_samples:
            assert np.array_equal(given_task.X, built.X)
            assert np.array_equal(given_task.Y, built.Y)
            check_samples(built)
        assert problem.white == (built.inputs == "white")


def check_samples(task):
    """Check that the samples have the statistics of the task."""
    again = fl.Task(task.X, task.Y)
    for name in ("sigma_yx", "sigma_xx", "sigma_yy_trace", "loss_floor"):
        assert np.allclose(getattr(again, name), getattr(task, name), rtol=1e-12, atol=1e-14), name


@pytest.mark.parametrize(("kind", "table", "_function"), PAIRS, ids=IDS)
def test_specs_are_written_as_they_are_read(kind, table, _function):
    spec = spec_of(kind, table)
    for again in (fl.Spec.from_json(spec.to_json()), fl.Spec.from_dict(spec.to_dict())):
        assert again == spec
        assert again.hash == spec.hash
    assert "kind" in spec.to_toml()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([0.0, 0.5]), st.booleans())
def test_an_autoencoder_of_data_learns_principal_components(seed, n, noise, center):
    rng = np.random.default_rng(seed)
    x = np.linspace(3.0, 1.0, n)[:, None] * rng.standard_normal((n, 40)) * rng.choice([-1, 1], 40)
    task = fl.autoencoder(x, noise=noise, center=center)
    data = x - x.mean(axis=1, keepdims=True) if center else x
    c = data @ data.T / 40
    assert np.allclose(task.sigma_yx, c, rtol=0, atol=1e-12)
    assert np.allclose(task.sigma_xx, c + noise * np.eye(n), rtol=0, atol=1e-12)
    best = c @ np.linalg.inv(c + noise * np.eye(n))
    floor = np.trace(c - best @ c) / 2
    assert task.loss_floor == pytest.approx(floor, abs=1e-10)
    net = fl.balanced_init(fl.Architecture(n, n, n), lam=0.0, init_scale=0.1, seed=seed)
    path = fl.flow(task, net, [0.0, 400.0], observables=["loss", "w2w1", "mode_strengths", "alignment"])
    assert float(path.loss[1]) == pytest.approx(floor, abs=1e-6)
    values = np.linalg.eigvalsh(c)[::-1]
    assert np.allclose(path.mode_strengths.values[1], values / (values + noise), atol=1e-4)


def test_modes_of_an_autoencoder_are_learned_in_the_order_of_pca():
    """At lam = 0 half of the seeds have a product with the other sign of the determinant: a saddle."""
    task = fl.autoencoder(spectrum=[4.0, 2.0, 1.0])
    net = fl.balanced_init(fl.Architecture(3, 3, 3), lam=0.0, init_scale=1e-2, seed=2)
    times = np.linspace(0.0, 30.0, 301)
    strengths = fl.flow(task, net, times, observables=["mode_strengths"]).mode_strengths.values
    assert strengths.shape == (301, 3)
    half = [times[np.argmax(strengths[:, mode] > 0.5)] for mode in range(3)]
    assert 0.0 < half[0] < half[1] < half[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fl.hierarchy(0), "levels is 0; allowed is 1 to 12"),
        (lambda: fl.student_teacher(SHAPE, 5), "rank is 5; a map of this size has at most rank 4"),
        (
            lambda: fl.student_teacher(SHAPE, 3, singular_values=[1, 2]),
            "singular_values has 2 numbers; needed is one, or rank = 3",
        ),
        (lambda: fl.student_teacher(SHAPE, 3, n_samples=3), "n_samples is 3, and whitening N_i = 4 inputs"),
        (lambda: fl.student_teacher(SHAPE, 3, -1.0), "noise is -1; it must be at least 0"),
        (lambda: fl.spectrum(SHAPE), "needed is one of singular_values and power, and none of them is given"),
        (
            lambda: fl.spectrum(SHAPE, [1], 2.0),
            "of singular_values and power, and both of them are given",
        ),
        (
            lambda: fl.spectrum(SHAPE, np.ones(5)),
            "singular_values has 5 numbers; a map of this size",
        ),
        (lambda: fl.spectrum(SHAPE, [0.0]), r"singular_values is \[0\.0\]; allowed are numbers from 0"),
        (lambda: fl.spectrum(SHAPE, "x"), "singular_values is not an array of real numbers"),
        (lambda: fl.spectrum((4, 2, 3), power=1.0), "needed is one of class Architecture"),
        (lambda: fl.autoencoder(), "needed is one of x and spectrum, and none of them is given"),
        (lambda: fl.autoencoder(np.eye(2), spectrum=[1]), "and both of them are given"),
        (lambda: fl.autoencoder(spectrum=[1], center=True), "center is true, and it is for x"),
        (lambda: fl.autoencoder(spectrum=[1], noise=-1.0), "noise is -1; it must be at least 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "table", "shape", "message"),
    [
        ("hierarchy", {}, "8-3-7", "8-3-7; a hierarchy of 3 levels needs N_i = N_o = 2^3 = 8"),
        ("student_teacher", {"rank": 4}, "4-3-3", "4-3-3; rank is 4; a map of this size has at most rank 3"),
        ("student_teacher", {}, "4-3-3", "task.rank is missing"),
        ("spectrum", {}, "4-3-3", "needed is one of singular_values and power, and none"),
        ("autoencoder", {"power": 1.0}, "4-3-3", "4-3-3; an autoencoder needs N_o = N_i"),
        (
            "autoencoder",
            {"spectrum": [1]},
            "4-3-4",
            "spectrum has 1 numbers; needed is one for each of 4",
        ),
        ("spectrum", {"singular_values": ["a"]}, "4-3-4", "task.singular_values is not an array of real"),
    ],
)
def test_specs_say_what_a_kind_needs(kind, table, shape, message):
    with pytest.raises(fl.InputError) as caught:
        spec_of(kind, table, shape)
    assert message in str(caught.value)
