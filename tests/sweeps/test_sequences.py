"""Sweeps over sequences of tasks."""

import math
import tomllib
from dataclasses import replace

import numpy as np
import pytest

import fastlin as fl
from fastlin.kinds.sequence_law import SEEDS_OF_STAGE
from fastlin.sweeps.read import picture
from fastlin.sweeps.report import write as report_page
from fastlin.sweeps.run.block import compute
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store.verify import verify
from tests import sweeping

AXES = {"architecture": [[3, 4, 2], [2, 2, 2]], "seed": [0, 3], "lam": [-1.0, 0.0, 2.0]}
FIRST = {"kind": "random_regression", "n_samples": 10, "duration": [2.0, math.inf]}
SECOND = {"kind": "similar", "similarity": [-1.0, 0.3], "duration": 5.0}
THIRD = {"kind": "reversed", "duration": math.inf}
TIMES = {"times": [0.0, 1.0, 3.0, math.inf]}
OVER_TIME = ["loss", "kernel_distance", "weight_norms", "effective_rank"]
OF_STAGES = ["final_loss", "forgetting", "relearning_time", "reversal_time"]


def spec(*stages, **changes):
    """Return the content of a spec of three stages, or of others."""
    table = {"sequence": list(stages) or [FIRST, SECOND, THIRD]}
    output = {"observables": [*OVER_TIME, *OF_STAGES]}
    return sweeping.spec(**{"axes": AXES, "task": table, "dynamics": TIMES, "output": output} | changes)


def close(one, other):
    """Tell whether values are equal to rounding, NaN and inf included."""
    return np.allclose(one, other, rtol=1e-11, atol=1e-13, equal_nan=True)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("sequences") / "s.zarr"
    report = fl.run_sweep(spec(), path)
    assert report.ok == report.points == 2 * 2 * 2 * 2 * 3
    return path


def test_stages_and_tasks_are_dimensions_behind_time(swept):
    ds = fl.open_sweep(swept)
    points = ("architecture", "init_scale", "duration", "similarity", "seed", "lam")
    assert ds.loss.dims == (*points, "time", "stage", "task")
    assert ds.kernel_distance.dims == (*points, "time", "stage")
    assert ds.weight_norms.dims == (*points, "time", "stage", "layer")
    assert ds.forgetting.dims == (*points, "stage", "task")
    assert ds.relearning_time.dims == (*points, "stage")
    assert ds.stage.values.tolist() == ds.task.values.tolist() == [0, 1, 2]
    assert ds.relearning_time.attrs["fraction"] == 0.99


@pytest.mark.parametrize("architecture", ["3-4-2", "2-2-2"])
@pytest.mark.parametrize(("duration", "similarity", "lam"), [(2.0, 0.3, 2.0), (math.inf, -1.0, -1.0)])
def test_a_point_is_the_sequence_of_its_rebuilt_network(swept, architecture, duration, similarity, lam):
    ds = fl.open_sweep(swept)
    values = {"architecture": architecture, "seed": 3, "lam": lam, "duration": duration}
    stages, net = fl.rebuild(ds, **values, similarity=similarity)
    assert [t for _, t in stages] == [duration, 5.0, math.inf]
    point = ds.fastlin.select(**values, similarity=similarity).squeeze("init_scale").load()
    alone = fl.sequence(stages, net, ds.time, OVER_TIME)
    for name in [*OVER_TIME, *OF_STAGES]:
        assert close(point[name], alone[name].transpose(*point[name].dims)), name


def test_stages_of_a_random_kind_are_different_draws(swept):
    twice = spec({"n_samples": 10, "duration": 1.0}, {"n_samples": 10, "duration": 1.0})
    loaded = fl.Spec.from_dict(twice)
    law = loaded.problem(loaded.values_at({})).task
    arch = fl.Architecture(3, 4, 2)
    first, second = law.tasks(arch, 3)
    assert np.array_equal(first.sigma_yx, fl.random_regression(arch, 10, seed=3).sigma_yx)
    again = fl.random_regression(arch, 10, seed=3 + SEEDS_OF_STAGE)
    assert np.array_equal(second.sigma_yx, again.sigma_yx)
    assert np.abs(first.sigma_yx - second.sigma_yx).max() > 0.01


def test_related_stages_refer_to_the_first_and_to_the_one_before(swept):
    stages, _ = fl.rebuild(
        fl.open_sweep(swept), architecture="3-4-2", seed=0, lam=0.0, duration=2.0, similarity=0.3
    )
    first, second, third = (task.sigma_yx for task, _ in stages)
    cosine = np.sum(first * second) / np.linalg.norm(first) / np.linalg.norm(second)
    assert cosine == pytest.approx(0.3, rel=1e-12)
    assert np.array_equal(third, -second)


def test_forgetting_without_end_falls_with_similarity(tmp_path):
    """``|S_A - S_B|^2 / 2 = (1 - similarity) |S_A|^2``, whatever lam."""
    stages = {"n_samples": 10, "duration": math.inf}, SECOND | {"duration": math.inf}
    axes = {"architecture": "3-4-3", "seed": [0, 1], "lam": [-1.0, 2.0]}
    fl.run_sweep(spec(*stages, axes=axes), tmp_path / "s.zarr")
    ds = fl.open_sweep(tmp_path / "s.zarr").squeeze(["architecture", "init_scale"])
    for seed in (0, 1):
        target = fl.random_regression(fl.Architecture(3, 4, 3), 10, seed=seed).sigma_yx
        wanted = (1.0 - ds.similarity) * np.sum(target**2)
        got = ds.forgetting.sel(seed=seed, stage=1, task=0)
        assert np.allclose(got, wanted.broadcast_like(got), rtol=1e-10)


def test_a_reversal_has_its_closed_form(tmp_path):
    stages = {"kind": "spectrum", "singular_values": [1.0, 1.0, 1.0], "duration": math.inf}, THIRD
    axes = {"architecture": "3-4-3", "seed": 1, "lam": [-3.0, 0.01, 1.0]}
    output = {"observables": ["relearning_time", "reversal_time"], "fraction": 0.75}
    fl.run_sweep(spec(*stages, axes=axes, output=output), tmp_path / "s.zarr")
    ds = fl.open_sweep(tmp_path / "s.zarr").squeeze(["architecture", "init_scale", "seed"]).sel(stage=1)
    r = np.hypot(1.0, ds.lam / 2)
    wanted = np.log1p(2 * r / np.abs(ds.lam)) / (2 * r)
    assert np.allclose(ds.reversal_time, wanted, rtol=1e-12)
    assert np.allclose(ds.relearning_time, wanted, rtol=1e-7)


def test_bits_do_not_depend_on_the_other_points_of_a_group():
    layout = Plan.of(fl.Spec.from_dict(spec())).layout
    for placed in layout.block(layout.index(0))[:3]:
        whole = compute(placed.group).values
        for row, column in ((0, 0), (1, 2)):
            alone = compute(placed.group.part([row], [column])).values
            for name, values in whole.items():
                assert np.array_equal(values[row, column], alone[name][0, 0], equal_nan=True), name


@pytest.mark.parametrize(
    "grown",
    [
        {"axes": AXES | {"seed": [0, 2, 3], "lam": [-1.0, 0.0, 1.0, 2.0]}},
        {"task": {"sequence": [FIRST, SECOND | {"similarity": [-1.0, 0.0, 0.3]}, THIRD]}},
        {"task": {"sequence": [FIRST | {"duration": [1.0, 2.0, math.inf]}, SECOND, THIRD]}},
        {"dynamics": {"times": [0.0, 0.5, 1.0, 3.0, math.inf]}},
    ],
    ids=["points", "similarity", "duration", "times"],
)
def test_a_sweep_grows_and_keeps_its_bits(swept, tmp_path, grown):
    path = tmp_path / "s.zarr"
    fl.run_sweep(spec(), path)
    report = fl.run_sweep(spec(**grown), path)
    assert report.ok == report.points
    fl.run_sweep(spec(**grown), tmp_path / "new.zarr")
    new = fl.open_sweep(tmp_path / "new.zarr").load()
    stored = fl.open_sweep(path).load()
    for name in new.data_vars:
        assert np.array_equal(stored[name], new[name], equal_nan=True), name
    old = fl.open_sweep(swept).load()
    part = stored.sel({name: old[name] for name in ("seed", "lam", "similarity", "duration", "time")})
    for name in old.data_vars:
        assert np.array_equal(part[name], old[name], equal_nan=True), name


def test_a_sequence_that_differs_is_no_growth(swept, tmp_path):
    path = tmp_path / "s.zarr"
    fl.run_sweep(spec(), path)
    with pytest.raises(fl.InputError, match=r"task\.sequence"):
        fl.run_sweep(spec(FIRST, SECOND | {"duration": 6.0}, THIRD), path)


def test_a_store_is_verified_and_repaired(tmp_path):
    path = tmp_path / "s.zarr"
    fl.run_sweep(spec(), path)
    assert verify(path) == []
    chunk = next(file for file in (path / "loss").rglob("*") if file.is_file() and file.name[0] == "c")
    before = chunk.read_bytes()
    chunk.unlink()
    assert verify(path) != []
    repair(path)
    assert chunk.read_bytes() == before


def test_a_spec_is_written_and_read_back():
    loaded = fl.Spec.from_dict(spec())
    assert fl.Spec.from_json(loaded.to_json()) == loaded
    assert fl.Spec.from_dict(tomllib.loads(loaded.to_toml())) == loaded
    assert loaded.stages == 3
    assert list(loaded.parameter_axes) == ["duration", "similarity"]


def test_an_axis_that_two_stages_have_names_its_stage():
    loaded = fl.Spec.from_dict(spec(FIRST, SECOND | {"duration": [1.0, 2.0]}))
    assert list(loaded.parameter_axes) == ["duration_0", "duration_1", "similarity"]


def test_a_plan_counts_the_points():
    projection = fl.plan(spec())
    assert projection.points == 48
    assert projection.axes["similarity"] == projection.axes["duration"] == 2


def test_two_sided_balance_is_exact_too(tmp_path):
    axes = {"architecture": "2-5-2", "seed": 0, "lam": [1.0], "kappa": [0.0, 0.5]}
    fl.run_sweep(spec(axes=axes), tmp_path / "s.zarr")
    ds = fl.open_sweep(tmp_path / "s.zarr")
    at = {"duration": 2.0, "similarity": 0.3, "kappa": 0.5}
    stages, net = fl.rebuild(ds, **at)
    assert net.kappa == 0.5
    alone = fl.sequence(stages, net, ds.time, ["loss"])
    assert close(ds.loss.sel(at).squeeze(), alone.loss.transpose("time", "stage", "task"))


def test_raw_starts_and_general_inputs_are_integrated(tmp_path):
    stages = {"kind": "autoencoder", "power": 1.0, "duration": 1.0}, {"kind": "reversed", "duration": 2.0}
    changes = {
        "axes": {"architecture": "3-2-3", "seed": [0, 1]},
        "init": {"kind": "xavier", "balance": False},
        "dynamics": {"solver": "flow", "times": [0.0, 0.5, 1.5]},
        "output": {"observables": ["loss", "forgetting"]},
    }
    report = fl.run_sweep(spec(*stages, **changes), tmp_path / "s.zarr")
    assert report.ok == report.points == 2
    ds = fl.open_sweep(tmp_path / "s.zarr")
    rebuilt, net = fl.rebuild(ds, seed=1)
    alone = fl.sequence(rebuilt, net, ds.time, ["loss"])
    assert alone.attrs["solvers"] == ["flow", "flow"]
    assert close(ds.loss.sel(seed=1).squeeze(), alone.loss.transpose("time", "stage", "task"))
    assert np.isnan(ds.loss.sel(stage=0, time=1.5)).all()


def test_columns_with_values_of_their_own_are_those_points():
    layout = Plan.of(fl.Spec.from_dict(spec())).layout
    group = layout.block(layout.index(0))[0].group.part([0], [0, 1])
    own = group.own._replace(init_scales=np.array([0.5, 2.0]), seeds=np.array([3, 7]))
    paired = compute(replace(group, own=own)).values
    for column, (scale, seed) in enumerate([(0.5, 3), (2.0, 7)]):
        problem = replace(group.problem, init_scale=scale)
        alone = compute(replace(group.part([0], [column]), problem=problem, seeds=np.array([seed]))).values
        for name, values in alone.items():
            assert np.array_equal(paired[name][0, column], values[0, 0], equal_nan=True), name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (spec(task={"sequence": []}), "task.sequence is"),
        (
            spec(task={"sequence": [FIRST], "n_samples": 5}),
            "task.n_samples is given beside",
        ),
        (spec(SECOND), "task.sequence[0].kind is 'similar', which refers to a stage before it"),
        (spec(FIRST, {"kind": "similer", "duration": 1.0}), "task.sequence[1].kind is 'similer'"),
        (spec(FIRST, {"kind": "similar", "duration": 1.0}), "task.sequence[1].similarity is missing"),
        (spec(FIRST, SECOND | {"similarity": 2.0}), "task.sequence[1].similarity is 2"),
        (spec(FIRST, THIRD | {"duration": 0}), "task.sequence[1].duration is 0"),
        (spec(FIRST, THIRD | {"seed": 0}), "[task.sequence[1]] has the unknown key 'seed'"),
        (spec({"n_samples": 2, "duration": 1.0}), "axes.architecture[0] is 3-4-2; stage 0: n_samples is 2"),
        (spec(FIRST, SECOND, axes=AXES | {"architecture": "1-1-1"}), "stage 1: a task of one input and one"),
        (
            spec(output={"observables": ["convergence_time"]}),
            "convergence_time in output.observables is of one",
        ),
        (spec(task={"n_samples": 10}), "final_loss in output.observables compares tasks in a row"),
        (spec(dynamics=sweeping.BOTH), "dynamics.solver 'gradient_descent' is given"),
        (spec(axes=AXES | {"rate_ratio": [2.0]}), "axes.rate_ratio is given, and [[task.sequence]]"),
        (spec(axes=AXES | {"seed": [2**56]}), "axes.seed has 72057594037927936"),
    ],
)
def test_what_is_refused_is_named(content, message):
    with pytest.raises(fl.InputError) as caught:
        fl.Spec.from_dict(content)
    assert message in str(caught.value)


def test_own_data_are_a_stage(tmp_path):
    """The store keeps the data, so that the point is rebuilt without the files."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 20)), rng.standard_normal((2, 20))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    data = {"kind": "data", "x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy"), "whiten": True}
    content = spec(
        data | {"duration": 3.0},
        {"kind": "reversed", "duration": [1.0, math.inf]},
        axes={"architecture": "3-2-2", "seed": 0, "lam": [-1.0, 1.0]},
    )
    loaded = fl.Spec.from_dict(content)
    assert fl.Spec.from_json(loaded.to_json()) == loaded
    report = fl.run_sweep(content, tmp_path / "s.zarr")
    assert report.ok == report.points == 4
    (tmp_path / "x.npy").unlink()
    ds = fl.open_sweep(tmp_path / "s.zarr")
    stages, net = fl.rebuild(ds, lam=1.0, duration=1.0, init_scale=1.0)
    assert np.allclose(stages[0][0].sigma_yx, fl.Task(x, y).whiten().sigma_yx)
    alone = fl.sequence(stages, net, ds.time, ["loss"])
    stored = ds.loss.sel(lam=1.0, duration=1.0, init_scale=1.0).squeeze()
    assert close(stored, alone.loss.transpose("time", "stage", "task"))


def test_a_stage_has_one_task(tmp_path):
    x, y = str(tmp_path / "x.npy"), str(tmp_path / "y.npy")
    np.save(x, np.eye(3))
    np.save(y, np.ones((2, 3)))
    with pytest.raises(fl.InputError, match=r"task.sequence\[0\] has a list of tasks; a stage has one"):
        fl.Spec.from_dict(spec({"kind": "data", "x": x, "y": [y, x], "duration": 1.0}))


def test_reports_and_pictures_have_stages(swept, tmp_path):
    """Stages and tasks are axes to choose from, and observables of stages are drawn, too."""
    page = report_page(swept, tmp_path / "s.html")
    text = page.read_text()
    assert '"forgetting"' in text
    assert '"stage"' in text
    view = picture.View(("stage=1", "task=0", "duration=2"), "forgetting", "similarity", "lam")
    (file,) = picture.draw(str(swept), tmp_path / "s.png", view)
    assert file.stat().st_size > 10_000


def test_parameters_of_stages_are_no_columns():
    content = spec()
    content["axes"] = {"architecture": "2-2-2"}
    with pytest.raises(fl.InputError, match=r"unknown column 'n_samples'; .* allowed: .*init_scale, lam$"):
        fl.Spec.read(content, points={"n_samples": [5, 6], "lam": [0.0, 1.0], "seed": [0, 1]})
