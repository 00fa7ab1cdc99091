"""Sweeps of own data and own weights: by file, in Python, and rebuilt from the store without the file."""

import shutil

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run import stacked
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store.verify import verify
from tests import cutting
from tests.sweeping import content

DRAW = np.random.default_rng(7)
X = DRAW.standard_normal((4, 25)) * [[1.0], [0.5], [2.0], [1.0]]
Y = DRAW.standard_normal((3, 4)) @ X + 0.3 * DRAW.standard_normal((3, 25))
TASKS = {
    "general": fl.Task(X, Y),
    "white": fl.Task(X, Y).whiten(),
    "dependent": fl.Task(X[:, :2], Y[:, :2]).whiten(),
    "few samples": fl.Task(X[:, :3], Y[:, :3]),
    "statistics": fl.Task.from_sigma(Y @ X.T / 25, X @ X.T / 25, floor=0.2),
}
AXES = {"architecture": [[4, 2, 3], [4, 9, 3]], "seed": [0, 3], "lam": [-1.0, 0.5]}
TIMES = [0.0, 0.7, 3.0]
OBSERVABLES = ["loss", "kernel_distance", "weight_norms", "fit_lam"]
SPEC_FILE = """
[axes]
architecture = ["4-2-3", "4-9-3"]
seed = [0, 3]
lam = [-1.0, 0.5]
[task]
kind = "data"
x = "data/x.csv"
y = "data/xy.npz:y"
samples = "rows"
[dynamics]
times = [0.0, 0.7, 3.0]
[output]
observables = ["loss", "kernel_distance", "weight_norms", "fit_lam"]
"""


def spec(axes=None, dynamics=None, **changes):
    """Return a spec of small networks without a task."""
    sections = {"axes": AXES | (axes or {}), "dynamics": {"times": TIMES} | (dynamics or {})}
    return sections | {"output": {"observables": OBSERVABLES}} | changes


def run(path, *arguments, **options):
    report = fl.run_sweep(*arguments, path, **options)
    assert report.ok == report.points
    return fl.open_sweep(path)


@pytest.fixture
def source(tmp_path):
    """Return the TOML file of a spec, beside its data."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    np.savetxt(folder / "data" / "x.csv", X.T, delimiter=",", fmt="%.17g")
    np.savez(folder / "data" / "xy.npz", x=X.T, y=Y.T)
    (folder / "spec.toml").write_text(SPEC_FILE)
    return folder / "spec.toml"


def test_files_python_and_the_store_agree_bit_for_bit(source, tmp_path):
    by_file = run(tmp_path / "a.zarr", source)
    in_python = run(tmp_path / "b.zarr", spec(), task=fl.Task(X, Y))
    for name in OBSERVABLES:
        assert np.array_equal(by_file[name], in_python[name])
    assert by_file.attrs["spec_hash"] == in_python.attrs["spec_hash"]
    shutil.rmtree(source.parent)
    moved = tmp_path / "elsewhere" / "c.zarr"
    shutil.copytree(tmp_path / "a.zarr", moved)
    (tmp_path / "a.zarr").rename(tmp_path / "gone.zarr")
    task, net = fl.rebuild(fl.open_sweep(moved), architecture="4-9-3", seed=3, lam=0.5)
    assert np.array_equal(task.X, X) and np.array_equal(task.Y, Y)
    point = fl.open_sweep(moved).fastlin.select(architecture="4-9-3", seed=3, lam=0.5)
    alone = fl.flow(task, net, TIMES, observables=["loss", "kernel_distance"])
    assert np.allclose(alone.loss, point.loss.squeeze(), rtol=1e-8)  # of other steps of the flow
    again = run(tmp_path / "d.zarr", by_file.attrs["spec"])  # the spec of the store is all that a run needs
    assert np.array_equal(again.loss, in_python.loss)
    assert verify(moved) == []
    assert fl.run_sweep(spec(), moved, task=fl.Task(X, Y)).computed_points == 0


SOLVED = [(name, solver) for name in TASKS for solver in ("flow", "gradient_descent")]
SOLVED += [(name, "exact") for name in ("white", "dependent")]


@pytest.mark.parametrize(("name", "solver"), SOLVED)
def test_points_are_those_of_the_functions_for_one_network(tmp_path, name, solver):
    task = TASKS[name]
    rate = {"learning_rate": 0.01} if solver == "gradient_descent" else {}
    dataset = run(tmp_path / "s.zarr", spec(dynamics={"solver": solver, **rate}), task=task)
    for shape, seed, lam in (("4-2-3", 0, -1.0), ("4-9-3", 3, 0.5)):
        built, net = fl.rebuild(dataset, architecture=shape, seed=seed, lam=lam)
        assert np.array_equal(built.sigma_yx, task.sigma_yx) and built.loss_floor == task.loss_floor
        arch = fl.Architecture.read(shape)
        drawn = fl.balanced_init(arch, lam, seed=seed, task=task)
        assert np.allclose(net.w2 @ net.w1, drawn.w2 @ drawn.w1, atol=1e-12)
        if solver == "exact":
            alone = fl.exact(built, net, TIMES, OBSERVABLES[:3])
        elif solver == "flow":
            alone = fl.flow(built, net, TIMES, observables=OBSERVABLES[:3])
        else:
            alone = fl.gradient_descent(built, net, 0.01, 300, 10, OBSERVABLES[:3]).isel(time=[0, 7, 30])
        point = dataset.fastlin.select(architecture=shape, seed=seed, lam=lam).squeeze()
        for observable in OBSERVABLES[:3]:
            assert np.allclose(point[observable], alone[observable], rtol=1e-6, atol=1e-9), observable
        if task.inputs != "projector":
            assert np.isclose(point.fit_lam, lam)


def test_flow_is_the_default_for_inputs_that_are_not_whitened():
    assert fl.Spec.read(spec(), task=TASKS["general"]).solvers == ("flow",)
    assert fl.Spec.read(spec(), task=TASKS["white"]).solvers == ("exact",)
    assert fl.Spec.read(spec(), task=[TASKS["white"], TASKS["general"]]).solvers == ("flow",)
    line = "solver: flow, because the inputs of the task are not whitened"
    assert line in str(fl.plan(spec(), task=TASKS["general"])).splitlines()
    assert "solver:" not in str(fl.plan(spec(), task=TASKS["white"]))
    autoencoder = {"kind": "autoencoder", "spectrum": [1.0, 0.5, 0.2, 0.1]}
    square = spec({"architecture": [[4, 3, 4]]}, task=autoencoder)
    assert fl.Spec.from_dict(square).solvers == ("flow",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dynamics": {"solver": "exact"}},
            "dynamics.solver is 'exact', and the inputs of the task are neither",
        ),
        (
            {"dynamics": {"times": [0.0, np.inf]}},
            "dynamics.times holds inf; gradient flow needs finite times",
        ),
        (
            {"output": {"observables": ["convergence_time"]}},
            "for whitened inputs, and those of the task are not",
        ),
        ({"axes": {"architecture": [[5, 2, 3]]}}, "axes.architecture[0] is 5-2-3; the data of the task have"),
        ({"init": {"kind": "random_regression"}}, None),
    ],
    ids=["exact", "inf", "scale", "sizes", "samples"],
)
def test_specs_that_do_not_fit_the_data_are_refused(changes, message):
    if message is None:
        with pytest.raises(fl.InputError, match='kind "random_regression" needs the size of its task'):
            fl.Spec.read(spec(**changes), task=TASKS["statistics"])
        return
    with pytest.raises(fl.InputError) as error:
        fl.Spec.read(spec(**changes), task=TASKS["general"])
    assert message in str(error.value)


def test_a_changed_file_is_refused(source, tmp_path):
    run(tmp_path / "s.zarr", source)
    before = content(tmp_path / "s.zarr")
    np.savetxt(source.parent / "data" / "x.csv", X.T + 1e-9, delimiter=",", fmt="%.17g")
    with pytest.raises(fl.InputError) as error:
        fl.run_sweep(source, tmp_path / "s.zarr")
    lines = [line for line in str(error.value).splitlines() if "has changed" in line]
    assert len(lines) == 1
    assert lines[0].strip().startswith("task.x: data/x.csv has changed; its sha256 begins with ")
    assert content(tmp_path / "s.zarr") == before
    np.savetxt(source.parent / "data" / "x.csv", X.T, delimiter=",", fmt="%.17e")
    assert (
        fl.run_sweep(source, tmp_path / "s.zarr").computed_points == 0
    )  # the same numbers, written otherwise


def test_changed_labels_are_refused(source, tmp_path):
    labels = source.parent / "data" / "labels.txt"
    names = [f"{place % 3}" for place in range(X.shape[1])]
    labels.write_text("\n".join(names))
    source.write_text(SPEC_FILE.replace('samples = "rows"', 'samples = "rows"\nlabels = "data/labels.txt"'))
    dataset = run(tmp_path / "s.zarr", source)
    task, _ = fl.rebuild(dataset, architecture="4-9-3", seed=3, lam=0.5)
    assert list(task.labels) == names
    labels.write_text("\n".join(["new", *names[1:]]))
    with pytest.raises(fl.InputError, match=r"task\.labels: data/labels\.txt has changed; its sha256 begins"):
        fl.run_sweep(source, tmp_path / "s.zarr")
    source.write_text(SPEC_FILE)
    with pytest.raises(
        fl.InputError, match=r"task\.labels: no file is given, and the store was made with data"
    ):
        fl.run_sweep(source, tmp_path / "s.zarr")


def test_a_bad_file_is_named_with_the_spec(source):
    (source.parent / "data" / "x.csv").unlink()
    with pytest.raises(fl.InputError) as error:
        fl.Spec.load(source)
    assert str(error.value).startswith(f"{source}: task.x = 'data/x.csv': there is no such file in ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", [["a", "b", "c"], [0, 1, 2]])
def test_an_axis_of_tasks_grows(tmp_path, names):
    tasks = [TASKS["general"], TASKS["white"], fl.Task(X, -Y)]
    given = dict(zip(names, tasks, strict=True)) if names[0] == "a" else tasks
    fewer = {name: given[name] for name in names[:2]} if names[0] == "a" else tasks[:2]
    flow = spec(dynamics={"solver": "flow"})
    fl.run_sweep(flow, tmp_path / "grown.zarr", task=fewer)
    report = fl.run_sweep(flow, tmp_path / "grown.zarr", task=given)
    assert report.computed_points == 8
    fl.run_sweep(flow, tmp_path / "fresh.zarr", task=given)
    grown, fresh = (fl.open_sweep(tmp_path / name).load() for name in ("grown.zarr", "fresh.zarr"))
    assert grown.identical(fresh) and grown.task.values.tolist() == names
    task, _ = fl.rebuild(grown, architecture="4-2-3", seed=0, lam=0.5, task=names[2])
    assert np.array_equal(task.Y, -Y)
    with pytest.raises(fl.InputError, match=f"task: the store has {names[1]!r}, which the spec lacks"):
        fl.run_sweep(flow, tmp_path / "grown.zarr", task={names[0]: TASKS["general"], names[2]: tasks[2]})
    other = dict(zip(names, [fl.Task(X, 2 * Y), *tasks[1:]], strict=True))
    with pytest.raises(fl.InputError, match="task: the sha256 of what is given begins with"):
        fl.run_sweep(flow, tmp_path / "grown.zarr", task=other)


@pytest.mark.parametrize("balance", [True, False])
def test_own_weights_are_the_start_of_every_seed(tmp_path, balance):
    net = fl.random_init(fl.Architecture(4, 2, 3), "xavier", seed=8)
    axes = {"architecture": "4-2-3", "init_scale": [1.0, 2.0]} | ({} if balance else {"lam": None})
    content = spec(axes, {"solver": "flow"}, init={"balance": balance}, task={"n_samples": 12})
    dataset = run(tmp_path / "s.zarr", content, init=net)
    at = {"lam": 0.5} if balance else {}
    for seed, scale in ((0, 1.0), (3, 2.0)):
        task, rebuilt = fl.rebuild(dataset, architecture="4-2-3", seed=seed, init_scale=scale, **at)
        assert np.allclose(rebuilt.w2 @ rebuilt.w1, scale**2 * net.w2 @ net.w1)
        if not balance:
            assert np.array_equal(rebuilt.w1, scale * net.w1)
        point = dataset.fastlin.select(seed=seed, init_scale=scale, **at).squeeze()
        assert np.allclose(fl.flow(task, rebuilt, TIMES).loss, point.loss)
    with pytest.raises(fl.InputError, match="is 4-3-3; the weights of the start are those of 4-2-3"):
        fl.Spec.read(content | {"axes": content["axes"] | {"architecture": "4-3-3"}}, init=net)


def test_own_weights_in_files(tmp_path):
    net = fl.random_init(fl.Architecture(4, 2, 3), seed=8)
    np.savez(tmp_path / "net.npz", w1=net.w1, w2=net.w2)
    init = {"kind": "weights", "w1": "net.npz:w1", "w2": "net.npz:w2"}
    content = spec({"architecture": "4-2-3"}, init=init, task={"n_samples": 12})
    loaded = fl.Spec.from_dict(content, tmp_path)
    assert loaded.hash == fl.Spec.read(content, init=net).hash
    nets = {"a": net, "b": fl.random_init(fl.Architecture(4, 2, 3), seed=9)}
    dataset = run(tmp_path / "s.zarr", content, init=nets)
    assert dataset.loss.dims[2] == "init_network" and dataset.init_network.values.tolist() == ["a", "b"]
    _, rebuilt = fl.rebuild(dataset, architecture="4-2-3", seed=3, lam=0.5, init_network="b")
    assert np.allclose(rebuilt.w2 @ rebuilt.w1, nets["b"].w2 @ nets["b"].w1)


def test_noise_takes_the_samples_that_are_kept(tmp_path):
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "batch_size": 5}
    dataset = run(tmp_path / "s.zarr", spec({"architecture": "4-2-3"}, dynamics), task=TASKS["general"])
    task, net = fl.rebuild(dataset, seed=3, lam=0.5)
    alone = fl.gradient_descent(task, net, 0.01, 300, 10, ["loss"], batch_size=5).isel(time=[0, 7, 30])
    assert np.allclose(dataset.fastlin.select(seed=3, lam=0.5).squeeze().loss, alone.loss)
    with pytest.raises(fl.InputError, match=r"need samples, which task.kind 'data' lacks"):
        fl.Spec.read(spec(dynamics=dynamics), task=TASKS["statistics"])
    with pytest.raises(fl.InputError, match=r"dynamics.batch_size is 26; the task has 25 samples"):
        fl.Spec.read(spec(dynamics=dynamics | {"batch_size": 26}), task=TASKS["general"])


def test_a_stiff_point_of_general_inputs_is_too_stiff(tmp_path):
    dynamics = {"max_steps": 30, "times": [0.0, 1.0]}
    axes = {"architecture": "4-2-3", "seed": 0, "lam": [0.5, 2000.0]}
    report = fl.run_sweep(spec(axes, dynamics), tmp_path / "s.zarr", task=TASKS["general"])
    assert (report.ok, report.too_stiff) == (1, 1)


def test_own_data_are_solved_at_the_points_of_a_table(tmp_path):
    content = spec({"architecture": "4-2-3"})
    del content["axes"]["lam"]
    points = {"lam": [-1.0, 0.5, 0.5], "n_h": [2, 2, 9]}
    dataset = run(tmp_path / "s.zarr", content, points=points, task=TASKS["general"])
    product = run(tmp_path / "p.zarr", spec(), task=TASKS["general"])
    for point, (shape, lam) in enumerate([("4-2-3", -1.0), ("4-2-3", 0.5), ("4-9-3", 0.5)]):
        row = dataset.isel(point=dataset.point.values.tolist().index(point))
        alone = product.fastlin.select(architecture=shape, lam=lam).squeeze()
        for name in OBSERVABLES:
            assert np.array_equal(row[name], alone[name])
        task, net = fl.rebuild(dataset, point=point, seed=3)
        assert np.array_equal(task.X, X) and str(net.architecture) == shape
    with pytest.raises(fl.InputError, match=r"task.task has 2 values beside \[points\]; give one"):
        fl.Spec.read(content, points=points, task=[TASKS["general"], TASKS["white"]])
    with pytest.raises(
        fl.InputError, match=r"task.n_samples has 2 values beside \[points\]; make it a column"
    ):
        fl.Spec.read(content | {"task": {"n_samples": [8, 9]}}, points=points)


def test_a_point_of_own_data_that_fails_is_marked_and_the_others_are_computed(tmp_path, monkeypatch):
    real = stacked.outputs

    def outputs(group, times):
        if group.architecture.n_h == 2:
            raise ArithmeticError("planted")
        return real(group, times)

    monkeypatch.setattr(stacked, "outputs", outputs)
    noisy = {"solver": "gradient_descent", "learning_rate": 0.01, "batch_size": 5}
    report = fl.run_sweep(spec(dynamics=noisy), tmp_path / "s.zarr", task=TASKS["general"])
    assert (report.ok, report.failed) == (4, 4)


def test_specs_of_own_data_are_written_and_read(tmp_path):
    loaded = fl.Spec.read(spec(), task={"a": TASKS["general"], "b": TASKS["white"]})
    (tmp_path / "copy.toml").write_text(loaded.to_toml())
    for copy in (fl.Spec.load(tmp_path / "copy.toml"), fl.Spec.from_json(loaded.to_json())):
        assert copy == loaded and copy.hash == loaded.hash
        assert np.array_equal(copy.task.values["data"]["a"].law.task.X, X)


@pytest.mark.slow
def test_reduced_stores_slices_and_repair(tmp_path):
    reduced = spec({"seed": {"start": 0, "num": 6}}, output={"observables": ["loss"], "reduce": {}})
    with cutting.into(seeds=2):
        fl.run_sweep(reduced, tmp_path / "whole.zarr", task=TASKS["general"])
        for part in ("1/2", "2/2"):
            fl.run_sweep(reduced, tmp_path / "cut.zarr", task=TASKS["general"], slice=part)
    assert content(tmp_path / "cut.zarr").keys() == content(tmp_path / "whole.zarr").keys()
    whole, cut = (fl.open_sweep(tmp_path / name).load() for name in ("whole.zarr", "cut.zarr"))
    assert cut.identical(whole)
    (chunk,) = [path for path in (tmp_path / "cut.zarr" / "loss").iterdir() if path.name.startswith("c")][:1]
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    assert verify(tmp_path / "cut.zarr") != []
    repair(tmp_path / "cut.zarr")
    assert verify(tmp_path / "cut.zarr") == [] and fl.open_sweep(tmp_path / "cut.zarr").load().identical(
        whole
    )


def test_kinds_of_the_registry_take_no_own_data_by_name():
    with pytest.raises(fl.InputError, match="kind is 'weights'; allowed: gaussian"):
        fl.balanced_init(fl.Architecture(2, 2, 2), 0.5, kind="weights")
    with pytest.raises(fl.InputError, match="kind is 'weights'; allowed: gaussian"):
        fl.random_init(fl.Architecture(2, 2, 2), "weights")
