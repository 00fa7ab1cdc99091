"""An observable, a solver, a kind of task and a kind of initialisation that tests add by one object each."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

import fastlin as fl
from fastlin.kernels import Output
from fastlin.kernels.draws import Target
from fastlin.kinds.initialisation import INIT_KINDS, InitKind
from fastlin.kinds.parameters import Parameter
from fastlin.kinds.task_kinds import TASK_KINDS, TaskKind
from fastlin.observables.registry import REGISTRY, Observable
from fastlin.solvers import GRADIENT_DESCENT, SOLVERS
from fastlin.sweeps.run.plan import Plan
from fastlin.validation import check_float

AXES = {
    "architecture": [[4, 2, 3], [2, 3, 4], [40, 3, 5]],
    "init_scale": [0.5, 1.0],
    "seed": {"start": 0, "num": 9},
    "lam": [-1.0, 0.5],
}
EXACT = {"times": [0.0, 1.0, 4.0]}


def swept(path, **sections):
    """Run a sweep with the given sections, and open it."""
    spec = {"axes": AXES, "task": {"n_samples": 40}, "dynamics": EXACT, **sections}
    loaded = fl.Spec.from_dict(spec)
    assert fl.Spec.from_dict(loaded.to_dict()).hash == loaded.hash
    assert Plan.of(loaded).block_seconds > 0.0
    report = fl.run_sweep(loaded, path)
    assert report.ok == report.points == 108
    return fl.open_sweep(path)


def check_rebuilt(dataset, names=("loss", "kernel_distance")):
    """Check that points equal the closed form for the network that is rebuilt."""
    for shape, seed, lam, scale in (
        ("4-2-3", 3, -1.0, 1.0),
        ("2-3-4", 8, 0.5, 0.5),
        ("40-3-5", 0, -1.0, 0.5),
    ):
        task, net = fl.rebuild(dataset, architecture=shape, seed=seed, lam=lam, init_scale=scale)
        point = dataset.fastlin.select(architecture=shape, seed=seed, lam=lam, init_scale=scale)
        alone = fl.exact(task, net, dataset.time, list(names))
        for name in names:
            assert np.allclose(point[name], alone[name], rtol=1e-9, atol=1e-12), name


def norms(path):
    """Return the Frobenius norms of both layers and of the NTK (T, 3)."""
    layers, ntk = (REGISTRY[name].evaluate(path) for name in ("weight_norms", "ntk_norm"))
    return np.concatenate([layers, ntk[:, None]], axis=-1)


NORMS = Observable(
    "norms",
    ("of",),
    "1",
    r"\|\cdot\|",
    "|W1|_F, |W2|_F, |K|_F / P",
    "norms of the weights and of the NTK",
    norms,
    (Output.W1_NORM, Output.W2_NORM, Output.NTK_NORM),
    {"of": ("w1", "w2", "ntk")},
)


def test_an_observable_with_new_dimensions_is_one_object(tmp_path, monkeypatch):
    monkeypatch.setitem(REGISTRY, "norms", NORMS)
    output = {"observables": ["norms", "weight_norms", "ntk_norm"]}
    dataset = swept(tmp_path / "s.zarr", output=output)
    assert dataset.norms.dims == (*dataset.ntk_norm.dims, "of")
    assert np.array_equal(dataset.norms.sel(of=["w1", "w2"]), dataset.weight_norms)
    assert np.array_equal(dataset.norms.sel(of="ntk"), dataset.ntk_norm)
    assert dataset.norms.attrs["equation"] == NORMS.equation
    check_rebuilt(dataset, ["norms"])
    reduced = swept(tmp_path / "r.zarr", output=output | {"reduce": {"statistics": ["mean"]}})
    mean = reduced.norms.sel(statistic="mean")
    assert np.allclose(mean, dataset.norms.mean("seed"), rtol=1e-12)


def test_a_solver_is_one_object(tmp_path, monkeypatch):
    """The solver is gradient descent in steps of half the learning rate."""

    def run(sizes, outputs, points, specialise):
        half = points.settings._replace(learning_rate=0.5 * points.settings.learning_rate)
        return GRADIENT_DESCENT.run(sizes, outputs, points._replace(settings=half), specialise)

    monkeypatch.setitem(SOLVERS, "half_steps", replace(GRADIENT_DESCENT, name="half_steps", run=run))
    both = {"solver": ["exact", "half_steps"], "learning_rate": 0.02, **EXACT}
    dataset = swept_with(tmp_path / "s.zarr", both)
    descent = swept_with(tmp_path / "d.zarr", {"solver": "gradient_descent", "learning_rate": 0.01, **EXACT})
    assert np.array_equal(dataset.loss.sel(solver="half_steps"), descent.loss)
    check_rebuilt(dataset.sel(solver="exact"))
    with pytest.raises(fl.InputError, match=r"dynamics\.times holds inf"):
        fl.Spec.from_dict(
            {"axes": AXES, "task": {"n_samples": 40}, "dynamics": both | {"times": [0.0, np.inf]}}
        )


def swept_with(path, dynamics):
    """Run a sweep with the given dynamics, and open it."""
    fl.run_sweep({"axes": AXES, "task": {"n_samples": 40}, "dynamics": dynamics}, path)
    return fl.open_sweep(path)


@dataclass(frozen=True)
class OneMode:
    """Targets of rank one that a linear map reaches exactly."""

    strength: float
    white: ClassVar[bool] = True

    def draw(self, seed, sizes):
        """Return the task of a seed."""
        rng = np.random.default_rng([seed, sizes.n_i, sizes.n_o])
        u, v = rng.standard_normal(sizes.n_o), rng.standard_normal(sizes.n_i)
        return Target(self.strength * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v)), 0.25)


def test_a_kind_of_task_is_one_object(tmp_path, monkeypatch):
    strength = Parameter(check_float, "singular value of Sigma_yx", 2.0)
    kind = TaskKind("one_mode", "Targets of rank one.", {"strength": strength}, OneMode)
    monkeypatch.setitem(TASK_KINDS, "one_mode", kind)
    dynamics = {"times": [0.0, 1.0, np.inf]}
    dataset = swept(tmp_path / "s.zarr", task={"kind": "one_mode", "strength": 3.0}, dynamics=dynamics)
    check_rebuilt(dataset)
    assert np.allclose(dataset.loss.isel(time=-1), 0.25, atol=1e-9)
    with pytest.raises(fl.InputError, match="unknown key 'n_samples'"):
        fl.Spec.from_dict({"axes": AXES, "task": {"kind": "one_mode", "n_samples": 40}, "dynamics": dynamics})


@dataclass(frozen=True)
class Diagonal:
    """A start whose product has ones on its diagonal."""

    power: ClassVar[int] = 2

    def product(self, seed, sizes):
        """Return the product at init_scale 1."""
        return np.eye(sizes.n_o, sizes.n_i)


def test_a_kind_of_initialisation_is_one_object(tmp_path, monkeypatch):
    monkeypatch.setitem(INIT_KINDS, "diagonal", InitKind("diagonal", "Ones.", lambda n_samples: Diagonal()))
    dataset = swept(tmp_path / "s.zarr", init={"kind": "diagonal"})
    check_rebuilt(dataset)
    net = fl.rebuild(dataset, architecture="2-3-4", seed=1, lam=0.5, init_scale=0.5)[1]
    assert np.allclose(net.w2 @ net.w1, 0.25 * np.eye(4, 2))
    assert np.allclose(fl.balanced_init(fl.Architecture(2, 3, 4), 0.5, 0.5, 1, "diagonal").w1, net.w1)


@pytest.mark.parametrize("kind", ["lecun", "zero_output"])
def test_sweeps_take_the_laws_of_weights(tmp_path, kind):
    check_rebuilt(swept(tmp_path / "s.zarr", init={"kind": kind}))
