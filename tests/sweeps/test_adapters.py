"""Sweeps of adapters of low rank ([init] kind "lora") have the numbers of single networks."""

import json
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl
from fastlin.tasks.adapted import residual_task
from fastlin.weights.rates import EQUAL_RATES

OBSERVABLES = ["loss", "kernel_distance", "ntk_norm", "weight_norms", "effective_rank", "adapter_norm"]
OBSERVABLES += ["adapter_alignment", "recovered_rank"]
OF_EXACT = [*OBSERVABLES, "convergence_time", "fit_lam"]
POINTS = [(1, 1.0, 0.5, 1.0, 1), (3, 4.0, 0.5, 9.0, 0), (3, 1.0, 2.0, 9.0, 1)]


def spec(init=None, dynamics=None, output=None, **axes):
    """Return the content of a small sweep of adapters."""
    return {
        "axes": {
            "architecture": [[5, 2, 3]],
            "seed": {"start": 0, "num": 2},
            "init_scale": [0.5, 2.0],
            "rate_ratio": [1.0, 9.0],
        }
        | axes,
        "task": {"kind": "random_regression", "n_samples": 8},
        "init": {"kind": "lora", "rank": [1, 3], "alpha": [1.0, 4.0], "similarity": 0.4} | (init or {}),
        "dynamics": {"times": [0.0, 0.7, 5.0]} | (dynamics or {}),
        "output": {"observables": OBSERVABLES} | (output or {}),
    }


def swept(path, **changes):
    fl.run_sweep(spec(**changes), path)
    return fl.open_sweep(path).compute()


def chosen(dataset, rank, alpha, init_scale, rate_ratio, seed):
    """Return a point of a sweep, and its task and network."""
    place = {"init_rank": rank, "init_alpha": alpha, "init_scale": init_scale, "rate_ratio": rate_ratio}
    place |= {"architecture": "5-2-3", "seed": seed}
    return dataset.sel(place), *fl.rebuild(dataset, **place)


def test_a_sweep_has_the_exact_numbers_of_its_networks(tmp_path):
    times = [0.0, 0.7, 5.0, np.inf]
    changes = {
        "init": {"adapter": "spectral"},
        "dynamics": {"times": times},
        "output": {"observables": OF_EXACT},
    }
    dataset = swept(tmp_path / "s.zarr", **changes)
    assert "lam" not in dataset.dims
    assert (dataset.status == "ok").all()
    for point in POINTS:
        found, task, net = chosen(dataset, *point)
        rank, alpha, init_scale, ratio, _ = point
        assert (net.architecture, task.gain) == (fl.Architecture(5, rank, 3), alpha / rank)
        np.testing.assert_allclose(net.w1 @ net.w1.T, init_scale**2 * np.eye(rank), atol=1e-14)
        np.testing.assert_allclose(task.learning_rates, (ratio**-0.5, ratio**0.5))
        one = fl.exact(task, net, times, OF_EXACT)
        for name in OF_EXACT:
            np.testing.assert_allclose(found[name], one[name], rtol=1e-9, atol=1e-12, err_msg=name)
        assert found.fit_lam == pytest.approx(-(ratio**0.5) * init_scale**2)


@pytest.mark.parametrize(
    ("dynamics", "solve"),
    [
        ({"solver": "flow"}, lambda *pair: fl.flow(*pair, [0.0, 0.7, 5.0], observables=OBSERVABLES)),
        (
            {"solver": "gradient_descent", "learning_rate": 0.007},
            lambda *pair: fl.gradient_descent(*pair, 0.007, 714, 1, OBSERVABLES).isel(time=[0, 100, 714]),
        ),
    ],
    ids=["flow", "gradient descent"],
)
def test_gaussian_adapters_follow_the_flow_and_gradient_descent(tmp_path, dynamics, solve):
    dataset = swept(tmp_path / "s.zarr", init={"adapter": "gaussian"}, dynamics=dynamics)
    for point in POINTS:
        found, task, net = chosen(dataset, *point)
        one = solve(task, net)
        for name in OBSERVABLES:
            np.testing.assert_allclose(found[name], one[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_flow_that_needs_more_steps_is_too_stiff(tmp_path):
    dataset = swept(
        tmp_path / "s.zarr",
        init={"rank": 1, "alpha": 1.0},
        dynamics={"solver": "flow", "max_steps": 3},
        seed=0,
        init_scale=1.0,
        rate_ratio=1.0,
    )
    assert (dataset.status == "too_stiff").all()
    assert dataset.loss.isnull().all()


def test_texts_may_be_axes_and_statistics_are_reduced(tmp_path):
    init = {"rank": 2, "alpha": 1.0, "adapter": ["spectral", "orthonormal"]}
    init["scaling"] = ["alpha/r", "alpha/sqrt(r)"]
    full = swept(tmp_path / "full.zarr", init=init, seed={"start": 0, "num": 5})
    reduced = swept(
        tmp_path / "reduced.zarr",
        init=init,
        seed={"start": 0, "num": 5},
        output={"reduce": {"over": "seed", "statistics": ["mean"]}},
    )
    place = {"init_adapter": "orthonormal", "init_scaling": "alpha/sqrt(r)", "init_scale": 0.5}
    for name in OBSERVABLES:
        mean = full[name].sel(place).mean("seed")
        np.testing.assert_allclose(
            reduced[name].sel(place | {"statistic": "mean"}), mean, rtol=1e-12, atol=1e-15
        )


@pytest.mark.parametrize("n_h", [1, 2, 7])
def test_the_frozen_map_is_the_end_of_training_on_the_similar_task(n_h):
    law = fl.Spec.from_dict(spec()).init.kind.law(
        None, rank=1, alpha=1.0, scaling="alpha/r", adapter="spectral", similarity=0.4
    )
    arch = fl.Architecture(5, n_h, 3)
    task = fl.random_regression(arch, 8, seed=3)
    tuned, _ = law.tuned(task, arch, 3, 1.0, EQUAL_RATES)
    net = fl.balanced_init(arch, lam=1.0, seed=3)
    end = fl.exact(fl.similar(task, 0.4, seed=3), net, [np.inf], ["w2w1"])
    np.testing.assert_allclose(tuned.offset, end.w2w1.values[0], atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lam": [0.0]}, r"axes\.lam is given, and init\.kind is 'lora'"),
        ({"init": {"balance": True}}, r"init\.balance is true, and init\.kind is 'lora'"),
        ({"init": {"rank": [0, 1]}}, r"init\.rank\[0\] is 0"),
        ({"init": {"alpha": -1.0}}, r"init\.alpha is -1"),
        ({"init": {"scaling": "alpha"}}, r"init\.scaling is 'alpha'"),
        ({"init": {"adapter": "normal"}}, r"init\.adapter is 'normal'"),
        ({"init": {"similarity": 2.0}}, r"init\.similarity is 2"),
        (
            {"init": {"adapter": ["spectral", "gaussian"]}},
            r"init\.adapter is 'gaussian', which has no balance",
        ),
        ({"dynamics": {"decay": 0.1}}, r"dynamics\.decay is not 0; adapters have lam below 0"),
        ({"architecture": [[1, 1, 1]]}, r"architecture\[0\] is 1-1-1; a task of one input and one output"),
        (
            {"init": {"kind": "gaussian", "rank": None, "alpha": None, "similarity": None}, "lam": 0.0},
            "adapter_norm in output.observables is of adapters",
        ),
        (
            {
                "init": {"adapter": "gaussian"},
                "dynamics": {"solver": "flow"},
                "output": {"observables": ["convergence_time"]},
            },
            r"init\.adapter is 'gaussian'",
        ),
    ],
)
def test_faults_are_named(changes, message):
    content = spec(**changes)
    content["init"] = {key: value for key, value in content["init"].items() if value is not None}
    with pytest.raises(fl.InputError, match=message):
        fl.Spec.from_dict(content)


def test_a_spec_reads_back():
    first = fl.Spec.from_dict(spec())
    assert fl.Spec.from_json(first.to_json()) == first
    assert not first.balance


def test_whole_networks_are_not_drawn_by_the_law_of_adapters():
    with pytest.raises(fl.InputError, match="kind is 'lora'"):
        fl.balanced_init(fl.Architecture(4, 2, 4), 0.0, kind="lora")


def test_the_stored_values_of_lora_plus_come_out_of_a_sweep(tmp_path):
    """With a given A the sweep takes the task that is left to B A, and the weights, as own data."""
    case = json.loads((Path(__file__).parents[1] / "data" / "beyond_reference.json").read_text())["lora_plus"]
    tuned, _ = fl.lora(fl.Task.from_sigma(case["sigma_yx"]), case["w0"], 1, case["scale"])
    net, ratio = fl.Network(case["a"], case["b"]), case["rates"][1] / case["rates"][0]
    content = {
        "axes": {"architecture": [[3, 1, 2]], "seed": 0, "rate_ratio": ratio},
        "init": {"balance": False},
        "dynamics": {"solver": "flow", "tolerance": 1e-11, "times": np.sqrt(ratio) * np.array(case["times"])},
        "output": {"observables": ["loss"]},
    }
    left = residual_task(tuned)
    own = fl.Task.from_sigma(left.sigma_yx, left.sigma_xx)
    fl.run_sweep(content, tmp_path / "s.zarr", task=own, init=net)
    found = fl.open_sweep(tmp_path / "s.zarr").loss.values.ravel()
    expected = 0.5 * np.sum((np.array(case["sigma_yx"]) - case["w2w1"]) ** 2, axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_rows_of_a_table_are_adapters(tmp_path):
    """Each row has a rank, an alpha, a scale and a ratio of rates of its own."""
    columns = {"init_rank": [1, 3, 3], "init_alpha": [1.0, 4.0, 1.0], "init_scale": [0.5, 0.5, 2.0]}
    columns |= {"rate_ratio": [1.0, 9.0, 9.0], "seed": [1, 0, 1]}
    content = spec()
    content["axes"] = {"architecture": [[5, 2, 3]]}
    content["init"] = {"kind": "lora", "similarity": 0.4}
    fl.run_sweep(content, tmp_path / "rows.zarr", points=columns)
    rows = fl.open_sweep(tmp_path / "rows.zarr").compute()
    product = swept(tmp_path / "product.zarr")
    for number, point in enumerate(POINTS):
        found, _, _ = chosen(product, *point)
        row = rows.isel(point=int(np.flatnonzero(rows.point == number)[0]))
        for name in OBSERVABLES:
            np.testing.assert_array_equal(row[name].values.squeeze(), found[name].values, err_msg=name)
