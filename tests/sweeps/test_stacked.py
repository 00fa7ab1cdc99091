"""Groups of points that are solved as stacks: the numbers of single networks, whatever the neighbours."""

import numpy as np
import pytest

import fastlin as fl
from fastlin.kernels import Status
from fastlin.sweeps.run.block import compute
from fastlin.sweeps.store.block_shape import BlockShape
from fastlin.sweeps.store.contents import layout_of

AXES = {"architecture": [[4, 3, 4]], "seed": {"start": 0, "num": 5}, "lam": [-1.0, 0.0, 1.5]}
TIMES = [0.0, 0.3, 2.0]
OF_KERNELS = ["loss", "kernel_distance", "ntk_norm", "weight_norms", "balance_drift", "effective_rank"]
ISOTROPIC = {"kind": "autoencoder", "spectrum": [0.5, 0.5, 0.5, 0.5]}
OWN = fl.Task.from_sigma(np.diag([2.0, 1.5, 1.0, 0.5]) + 0.3, 1.7 * np.eye(4), 0.1)
DEPENDENT = fl.Task(np.diag([1.0, 2.0, 0.5, 0.0]) @ np.ones((4, 1)), [[1.0], [0.5], [-1.0], [2.0]])
GENERAL = {"kind": "autoencoder", "power": 1.0}
RAW = {"balance": False, "kind": "lecun"}
STACKS = {
    "exact with decay": (
        {"axes": AXES | {"lam": [0.0]}, "task": {"n_samples": 6}},
        {"solver": "exact", "decay": 0.2, "times": [0.0, 2.0, np.inf]},
    ),
    "exact, isotropic": (
        {"axes": AXES, "task": OWN},
        {"solver": "exact", "times": [0.0, 2.0, np.inf]},
    ),
    "exact, dependent": (
        {"axes": AXES, "task": DEPENDENT},
        {"solver": "exact", "times": [0.0, 2.0, np.inf]},
    ),
    "flow, isotropic": ({"axes": AXES, "task": ISOTROPIC}, {"solver": "flow", "times": TIMES}),
    "flow, general": ({"axes": AXES, "task": GENERAL}, {"solver": "flow", "times": TIMES}),
    "descent, isotropic": (
        {"axes": AXES, "task": ISOTROPIC},
        {"solver": "gradient_descent", "learning_rate": 0.01, "times": TIMES},
    ),
    "descent, general": (
        {"axes": AXES, "task": GENERAL},
        {"solver": "gradient_descent", "learning_rate": 0.01, "times": TIMES},
    ),
    "adapters": (
        {
            "axes": {"architecture": [[4, 1, 3]], "seed": {"start": 0, "num": 5}, "rate_ratio": [4.0]},
            "task": {"n_samples": 6},
            "init": {"kind": "lora", "rank": 2},
        },
        {"solver": "exact", "times": [0.0, 2.0, np.inf]},
    ),
}


def spec_of(sections, dynamics, observables=OF_KERNELS):
    content = sections | {"dynamics": dynamics, "output": {"observables": observables}}
    task = content.pop("task") if isinstance(content["task"], fl.Task) else None
    return fl.Spec.read(content, task=task)


def only_group(spec):
    """Return the group of a spec that has one."""
    layout = layout_of((spec,), BlockShape(seeds=5, lams=3, times=3))
    ((_, group),) = layout.block(layout.index(0))
    return group


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_the_bits_of_a_point_do_not_depend_on_its_neighbours(stack):
    group = only_group(spec_of(*stack))
    assert group.stacked or group.on_inputs
    whole = compute(group)
    assert (whole.status == Status.OK).all()
    for rows, columns in ((slice(0, 1), slice(None)), ([3, 1], slice(0, 1)), (slice(2, 5), slice(-1, None))):
        part = compute(group.part(rows, columns))
        for name, values in part.values.items():
            assert np.array_equal(values, whole.values[name][rows][:, columns]), name


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_points_are_those_of_the_rebuilt_networks(stack, tmp_path):
    sections, dynamics = stack
    fl.run_sweep(spec_of(sections, dynamics), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr")
    for place in ({"seed": 0}, {"seed": 3}):
        if "lam" in dataset.dims:
            place["lam"] = float(dataset.lam[-1])
        task, net = fl.rebuild(dataset, **place)
        point = dataset.sel(place).squeeze()
        decay, times = dynamics.get("decay", 0.0), dataset.time.values
        if dynamics["solver"] == "exact":
            alone = fl.exact(task, net, times, OF_KERNELS, decay=decay)
        elif dynamics["solver"] == "flow":
            alone = fl.flow(task, net, times, observables=OF_KERNELS)
        else:
            alone = fl.gradient_descent(task, net, 0.01, 200, 1, OF_KERNELS).sel(time=times, method="nearest")
        for name in OF_KERNELS:
            assert np.allclose(point[name], alone[name], rtol=1e-8, atol=1e-9), name


def test_points_that_are_too_stiff_or_diverge_have_a_status():
    sections = {"axes": AXES | {"init_scale": [20.0]}, "task": GENERAL}
    for task in (GENERAL, ISOTROPIC):
        sections["task"] = task
        flow = compute(
            only_group(spec_of(sections, {"solver": "flow", "max_steps": 10, "times": [0.0, 9.0]}))
        )
        assert (flow.status == Status.TOO_STIFF).all()
        assert np.isnan(flow.values["loss"][..., -1]).all()
        descent = {"solver": "gradient_descent", "learning_rate": 0.5, "times": [0.0, 20.0]}
        run = compute(only_group(spec_of(sections, descent)))
        assert (run.status == Status.DIVERGED).all()
        assert np.isfinite(run.values["loss"][..., 0]).all()
        assert np.isnan(run.values["loss"][..., -1]).all()


def test_time_scales_and_starts_of_stacks():
    names = ["convergence_time", "fit_lam", "imbalance"]
    sections, dynamics = STACKS["adapters"]
    group = only_group(spec_of(sections, dynamics, names))
    values = compute(group).values
    assert values["imbalance"].max() < 1e-12
    assert np.isfinite(values["convergence_time"]).all()
    part = compute(group.part([2], slice(None))).values
    assert all(np.array_equal(part[name], values[name][[2]]) for name in names)


@pytest.mark.parametrize("more", [{}, {"label_noise": 0.1}], ids=["stacked", "one by one"])
def test_rows_of_a_table_have_their_own_rates_and_decay(more, tmp_path):
    """They are those of single networks, where rows differ in the ratio of the learning rates."""
    sections, _ = STACKS["adapters"]
    decay, ratios = {"decay": [0.2, 0.1]}, [1.0, 9.0, 4.0]
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "times": [0.0, 2.0]} | decay | more
    axes = {name: values for name, values in sections["axes"].items() if name != "rate_ratio"}
    content = sections | {"axes": axes, "dynamics": dynamics, "output": {"observables": OF_KERNELS}}
    fl.run_sweep(content, tmp_path / "s.zarr", points={"rate_ratio": ratios})
    dataset = fl.open_sweep(tmp_path / "s.zarr")
    for point, ratio in enumerate(ratios):
        task, net = fl.rebuild(dataset, seed=3, point=point)
        assert np.isclose(task.learning_rates[1] / task.learning_rates[0], ratio)
        alone = fl.gradient_descent(task, net, 0.01, 200, 200, OF_KERNELS, **decay, **more)
        stored = dataset.sel(seed=3, point=point).squeeze()
        for name in OF_KERNELS:
            assert np.allclose(stored[name], alone[name], rtol=1e-8, atol=1e-9), (ratio, name)
