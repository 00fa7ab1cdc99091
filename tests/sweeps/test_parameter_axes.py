"""Parameters of tasks and starts as axes of a sweep."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import fastlin as fl
from fastlin.kinds.initialisation import INIT_KINDS, InitKind
from fastlin.kinds.parameters import Parameter
from fastlin.kinds.task_kinds import TASK_KINDS
from fastlin.observables.registry import REGISTRY
from fastlin.sweeps.spec.extension import AXES as FIELDS
from fastlin.sweeps.store.status import in_words, sweep_status
from fastlin.sweeps.store.verify import verify
from fastlin.validation import check_choice, check_float, check_int
from tests import cutting, sweeping

AXES = {"architecture": [[4, 2, 3], [2, 3, 4]], "init_scale": [0.5, 1.0], "seed": [0, 3], "lam": [-1.0, 0.5]}
TASK = {"n_samples": [8, 20], "target_scale": [0.5, 1.0, 1.5]}
TIMES = {"times": [0.0, 1.0, 4.0]}


def spec(task=None, **changes):
    return sweeping.spec(**{"axes": AXES, "task": task or TASK, "dynamics": TIMES, **changes})


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("parameters") / "s.zarr"
    report = fl.run_sweep(spec(), path)
    assert report.ok == report.points == 16 * 6
    return path


@pytest.mark.parametrize(("n_samples", "target_scale"), [(8, 1.5), (20, 0.5)])
def test_a_point_has_the_bits_that_it_has_alone(swept, tmp_path, n_samples, target_scale):
    one = {"n_samples": n_samples, "target_scale": target_scale}
    fl.run_sweep(spec(one), tmp_path / "one.zarr")
    alone = fl.open_sweep(tmp_path / "one.zarr")
    part = fl.open_sweep(swept).fastlin.select(**one)
    for name in alone.data_vars:
        assert np.array_equal(alone[name], part[name])


def test_parameters_are_dimensions_behind_the_optional_axes():
    loaded = fl.Spec.from_dict(spec(axes=AXES | {"kappa": [0.0]}, dynamics=sweeping.BOTH))
    dims = ["architecture", "init_scale", "solver", "kappa", "n_samples", "target_scale", "seed", "lam"]
    assert list(loaded.point_dims) == dims
    assert list(loaded.optional_axes)[-2:] == ["n_samples", "target_scale"]
    single = fl.Spec.from_dict(spec({"n_samples": [8]}))
    assert single.point_dims["n_samples"] == 1
    assert single.hash != fl.Spec.from_dict(spec({"n_samples": 8})).hash


def test_a_range_is_the_list_of_its_values():
    ranged = {"n_samples": {"start": 8, "num": 3}, "target_scale": {"start": 0.5, "stop": 1.5, "num": 3}}
    listed = {"n_samples": [10, 8, 9], "target_scale": [{"start": 1.0, "stop": 1.5, "step": 0.5}, 0.5]}
    first, second = (fl.Spec.from_dict(spec(task)) for task in (ranged, listed))
    assert first == second
    assert first.task.values["n_samples"].dtype == np.int64
    assert fl.Spec.from_dict(first.to_dict()) == first


def test_rebuild_takes_parameters(swept):
    dataset = fl.open_sweep(swept)
    at = {"architecture": "4-2-3", "seed": 3, "lam": 0.5, "init_scale": 0.5}
    for n_samples, target_scale in ((8, 1.5), (20, 0.5)):
        chosen = at | {"n_samples": n_samples, "target_scale": target_scale}
        task, net = fl.rebuild(dataset, **chosen)
        assert task.n_samples == n_samples
        assert np.array_equal(task.X, fl.random_regression(fl.Architecture(4, 2, 3), n_samples, seed=3).X)
        assert np.allclose(fl.exact(task, net, dataset.time).loss, dataset.fastlin.select(**chosen).loss)
    part = dataset.fastlin.select(n_samples=20)
    assert fl.rebuild(part, **at, target_scale=0.5)[0].n_samples == 20
    with pytest.raises(fl.InputError, match="n_samples has 2 values in the dataset; say which"):
        fl.rebuild(dataset, **at, target_scale=0.5)
    with pytest.raises(fl.InputError, match="the name of an axis is 'samples'; did you mean 'n_samples'"):
        fl.rebuild(dataset, **at, samples=8)


JOINED = cutting.APART | {"parameters": {"n_samples": 2, "target_scale": 2}}


@pytest.mark.parametrize(
    "shape",
    [pytest.param(cutting.APART, id="apart", marks=pytest.mark.slow), pytest.param(JOINED, id="joined")],
)
@pytest.mark.parametrize("reduce", [False, True])
def test_a_parameter_grows(tmp_path, shape, reduce):
    output = {"observables": ["loss"]} | ({"reduce": {"statistics": ["mean", "max"]}} if reduce else {})
    small = {"n_samples": [8, 20], "target_scale": [1.0]}
    large = {"n_samples": [8, 12, 20], "target_scale": [0.5, 1.0, 1.5]}
    with cutting.into(**shape):
        fl.run_sweep(spec(small, output=output), tmp_path / "grown.zarr")
        report = fl.run_sweep(spec(large, output=output), tmp_path / "grown.zarr")
        assert report.computed_points == 16 * (9 - 2)
    fl.run_sweep(spec(large, output=output), tmp_path / "fresh.zarr")
    grown, fresh = (fl.open_sweep(tmp_path / f"{name}.zarr").load() for name in ("grown", "fresh"))
    assert grown.n_samples.values.tolist() == [8, 12, 20]
    assert grown.identical(fresh)
    assert verify(tmp_path / "grown.zarr") == []


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"n_samples": [12, 20], "target_scale": [1.0]}, "task.n_samples: the store has [8, 20]"),
        ({"n_samples": 8, "target_scale": [1.0]}, "task.n_samples: the store has [8, 20], the spec 8"),
        ({"n_samples": [8, 20], "target_scale": 1.0}, "task.target_scale: the store has [1.0], the spec 1.0"),
    ],
)
def test_another_axis_is_no_growth(tmp_path, task, message):
    fl.run_sweep(spec({"n_samples": [8, 20], "target_scale": [1.0]}), tmp_path / "s.zarr")
    with pytest.raises(fl.InputError) as error:
        fl.run_sweep(spec(task), tmp_path / "s.zarr")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"n_samples": []}, "task.n_samples is empty; at least one value is needed"),
        ({"n_samples": [8, 8]}, "task.n_samples holds 8 more than once; list each value once"),
        ({"n_samples": [8, 0]}, "task.n_samples[1] is 0; allowed is 1 to"),
        ({"n_samples": [8, 9.5]}, "task.n_samples[1] is 9.5; a whole number is needed"),
        ({"n_samples": {"stop": 9}}, "task.n_samples lacks 'start'"),
        ({"n_samples": {"start": 8, "num": 10**6}}, "task.n_samples has 1000000 values; at most 100000"),
        ({"n_samples": 8, "target_scale": {"start": 0.0, "stop": 1.0, "num": 2}}, "target_scale.start is 0"),
        ({"n_samples": [3, 8]}, "axes.architecture[0] is 4-2-3; n_samples is 3"),
        ({"n_samples": [8, "x"]}, "task.n_samples[1] is 'x'; a whole number is needed"),
    ],
)
def test_bad_parameters_are_named(task, message):
    with pytest.raises(fl.InputError) as error:
        fl.Spec.from_dict(spec(task))
    assert message in str(error.value)


def test_batches_are_within_the_smallest_data():
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "times": [0.0, 1.0], "batch_size": 10}
    with pytest.raises(fl.InputError, match=r"dynamics.batch_size is 10; the task has 8 samples"):
        fl.Spec.from_dict(spec(dynamics=dynamics))


def test_the_rank_of_a_teacher_is_an_axis(tmp_path):
    task = {"kind": "student_teacher", "rank": [1, 2], "noise": {"start": 0.0, "stop": 0.5, "num": 2}}
    fl.run_sweep(spec(task), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr")
    assert dataset.singular_values.item() == "[1.0]"
    at = {"architecture": "4-2-3", "seed": 3, "lam": 0.5, "init_scale": 1.0, "rank": 1}
    clean = fl.rebuild(dataset, **at, noise=0.0)[0]
    assert np.allclose(clean.sigma_yx, fl.student_teacher(fl.Architecture(4, 2, 3), 1, seed=3).sigma_yx)
    task, net = fl.rebuild(dataset, **at, noise=0.5)
    point = dataset.fastlin.select(**at, noise=0.5)
    assert np.allclose(fl.exact(task, net, dataset.time).loss, point.loss)


def test_noise_takes_the_samples_of_its_point(tmp_path):
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.05, "times": [0.0, 1.0], "label_noise": 0.1}
    axes = AXES | {"architecture": "4-2-3", "init_scale": 1.0, "seed": 0, "lam": 0.5}
    for name, samples in (("all", [8, 20]), ("one", 20)):
        content = spec({"n_samples": samples}, axes=axes, dynamics=dynamics)
        fl.run_sweep(content, tmp_path / name)
    both, one = (fl.open_sweep(tmp_path / name) for name in ("all", "one"))
    assert np.array_equal(both.loss.sel(n_samples=20), one.loss)


@dataclass(frozen=True)
class Diagonal:
    """A product with equal numbers on its diagonal."""

    gain: float
    side: str
    power: ClassVar[int] = 2

    def product(self, seed, sizes):
        """Return the product."""
        eye = self.gain * np.eye(sizes.n_o, sizes.n_i)
        return eye if self.side == "left" else eye[:, ::-1]


def test_parameters_of_a_start_have_a_prefix(tmp_path, monkeypatch):
    parameters = {
        "gain": Parameter(check_float, "factor of the product", 1.0),
        "side": Parameter(lambda name, value: check_choice(name, value, ["right", "left"]), "side", "left"),
        "level": Parameter(
            lambda name, value: check_int(name, value, -5, 5), "not used", axis=False, default=1
        ),
    }
    law = lambda n_samples, gain, side, level: Diagonal(gain, side)  # noqa: E731
    monkeypatch.setitem(INIT_KINDS, "diagonal", InitKind("diagonal", "Equal numbers.", law, parameters))
    init = {"kind": "diagonal", "gain": [0.5, 1.0], "side": ["right", "left"]}
    fl.run_sweep(spec({"n_samples": 8}, init=init), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr")
    assert dataset.init_side.values.tolist() == ["right", "left"]
    assert dataset.init_gain.attrs["long_name"] == "factor of the product"
    assert (dataset.init_level, dataset.init_kind) == (1, "diagonal")
    at = {"architecture": "2-3-4", "seed": 3, "lam": 0.5, "init_scale": 1.0}
    for side, sign in (("left", 1), ("right", -1)):
        net = fl.rebuild(dataset, **at, init_gain=0.5, init_side=side)[1]
        assert np.allclose(net.w2 @ net.w1, 0.5 * np.eye(4, 2)[:, ::sign])
    with pytest.raises(fl.InputError, match=r"init.level is \[1, 2\]; a whole number is needed"):
        fl.Spec.from_dict(spec({"n_samples": 8}, init=init | {"level": [1, 2]}))
    grown = init | {"side": ["left", "right"], "gain": [0.25, 0.5, 1.0]}
    assert fl.run_sweep(spec({"n_samples": 8}, init=grown), tmp_path / "s.zarr").computed_points == 32
    assert fl.open_sweep(tmp_path / "s.zarr").init_side.values.tolist() == ["left", "right"]


def test_bad_points_are_named_by_their_parameters(tmp_path):
    dynamics = {"solver": "gradient_descent", "learning_rate": 50.0, "times": [0.0, 5e3]}
    axes = AXES | {"architecture": "4-2-3", "seed": 0, "lam": 0.5, "init_scale": 1.0}
    fl.run_sweep(spec({"n_samples": [8, 20]}, axes=axes, dynamics=dynamics), tmp_path / "s.zarr")
    status = sweep_status(tmp_path / "s.zarr")
    assert [point["n_samples"] for point in status["bad"]] == [8, 20]
    assert "lam=0.5, init_scale=1.0, n_samples=8)" in in_words(status)


def test_no_parameter_has_the_name_of_another_axis():
    dims = {
        *FIELDS.values(),
        *REGISTRY,
        "status",
        "time",
        "n_i",
        "n_h",
        "n_o",
        "seed_block",
        "statistic",
        "bin",
    }
    dims |= {dim for observable in REGISTRY.values() for dim in observable.dims}
    names = [f"init_{key}" for kind in INIT_KINDS.values() for key in kind.parameters]
    names += [key for kind in TASK_KINDS.values() for key in kind.parameters]
    assert not dims & set(names)
