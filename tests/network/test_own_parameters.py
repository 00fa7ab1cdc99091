"""Parameters of the kinds "data" and "weights": files, objects, and what specs keep."""

import numpy as np
import pytest

import fastlin as fl
from fastlin.kinds.own_parameters import DATA, WEIGHTS, resolve_data, resolve_weights

DRAW = np.random.default_rng(6)
X, Y = DRAW.standard_normal((4, 9)), DRAW.standard_normal((3, 9))
ADAPTED, _ = fl.lora(fl.Task(X, Y), np.ones((3, 4)), rank=2)


@pytest.fixture
def folder(tmp_path):
    for name, values in {"x": X, "y": Y, "xr": X.T, "yr": Y.T, "short": Y[:, :5]}.items():
        np.save(tmp_path / f"{name}.npy", values)
    net = fl.random_init(fl.Architecture(4, 2, 3), seed=1)
    np.savez(tmp_path / "net.npz", w1=net.w1, w2=net.w2)
    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other" / "y.npy", -Y)
    return tmp_path


def read(parameters, resolve, folder, **given):
    """Return what a section with these keys is resolved to."""
    values = {
        key: parameter.read(f"task.{key}", given.get(key, parameter.default))
        for key, parameter in parameters.items()
    }
    return resolve("task", values, folder)


def data(folder, **given):
    return read(DATA, resolve_data, folder, **given)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("whiten", [False, True])
def test_files_are_the_task_in_python(folder, rows, center, whiten):
    files = {"x": "xr.npy", "y": "yr.npy", "samples": "rows"} if rows else {"x": "x.npy", "y": "y.npy"}
    values = data(folder, **files, center=center, whiten=whiten)
    task = fl.Task(X, Y, center=center)
    task = task.whiten() if whiten else task
    assert values["task"] == 0
    read = values["data"][0].law.task
    assert np.array_equal(read.sigma_yx, task.sigma_yx) and np.array_equal(read.X, task.X)
    source = values["data"][0].content["source"]
    assert source["x"]["file"] == files["x"] and source["whiten"] is whiten
    if not whiten:
        given = data(folder, data=task)["data"][0]
        assert given.content["sha256"] == values["data"][0].content["sha256"]


def test_a_list_of_files_is_an_axis(folder):
    values = data(folder, x="x.npy", y=["y.npy", "other/y.npy"])
    assert values["task"].tolist() == ["y.npy", "other/y.npy"]
    assert np.array_equal(values["data"]["other/y.npy"].law.task.Y, -Y)
    values = data(folder, x=["x.npy"], y="y.npy")
    assert values["task"].tolist() == ["x"]
    np.save(folder / "x2.npy", 2.0 * X)
    values = data(folder, x=["x.npy", "x.npy", "x2.npy"], y=["y.npy", "other/y.npy", "y.npy"])
    assert values["task"].tolist() == ["x, y.npy", "x, other/y.npy", "x2, y.npy"]
    assert np.array_equal(values["data"]["x, other/y.npy"].law.task.Y, -Y)
    assert np.array_equal(values["data"]["x2, y.npy"].law.task.X, 2.0 * X)


def test_objects_are_named_by_number_or_by_name(folder):
    tasks = [fl.Task(X, Y), fl.Task(X, -Y)]
    assert data(folder, data=tasks)["task"].tolist() == [0, 1]
    assert data(folder, data=tuple(tasks))["task"].tolist() == [0, 1]
    named = data(folder, data={"first": tasks[0], "second": tasks[1]})
    assert named["task"].tolist() == ["first", "second"]
    again = data(folder, data=named["data"].content)
    assert again["task"].tolist() == ["first", "second"]
    assert again["data"].content == named["data"].content


@pytest.mark.parametrize(("center", "whiten"), [(False, False), (True, True)])
def test_labels_of_a_file_are_those_of_the_task(folder, center, whiten):
    names = ["a", "b", "a", "b", '"c", d', "a", "é", "b", "a"]
    (folder / "names.csv").write_text('a\nb\na\n b \n"""c"", d"\na\né\nb\na\n\n', "utf-8-sig")
    files = {"x": "x.npy", "y": ["y.npy", "other/y.npy"], "center": center, "whiten": whiten}
    values = data(folder, **files, labels="names.csv")
    plain = data(folder, **files)
    for name in ("y.npy", "other/y.npy"):
        kept = values["data"][name]
        assert kept.law.task.labels == tuple(names)
        given = fl.Task(X, Y if name == "y.npy" else -Y, center=center, labels=names)
        if not whiten:
            assert kept.content["sha256"] == data(folder, data=given)["data"][0].content["sha256"]
        assert kept.content["sha256"] != plain["data"][name].content["sha256"]
        assert plain["data"][name].law.task.labels is None
    listed = data(folder, x=["x.npy"], y="y.npy", labels=["names.csv"])
    assert listed["data"]["x"].law.task.labels == tuple(names)


LABELS = {"few.txt": "a\nb\n", "two.txt": "a,b\n" * 9, "gap.txt": "a\n\nb\n", "bad.txt": "a\n\xe9"}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("none.txt", "task.labels = 'none.txt': there is no such file in "),
        ("few.txt", "task.labels = 'few.txt' has 2 labels, and task.x = 'x.npy' 9 samples, in columns"),
        ("two.txt", "task.labels = 'two.txt', line 1: it has 2 labels; needed is one a line"),
        ("gap.txt", "task.labels = 'gap.txt', line 2: it has no label; needed is one a line"),
        ("bad.txt", "task.labels = 'bad.txt' cannot be read as text: "),
        (["few.txt", "two.txt"], "task.y and labels list 3 and 2 files; needed are as many"),
        (["gap.txt", "bad.txt", "few.txt"], "task.labels = 'gap.txt', line 2: it has no label"),
        (5, "task.labels is 5; needed is a text file with one label a line"),
    ],
    ids=lambda value: value[:8] if isinstance(value, str) else str(value),
)
def test_bad_labels_are_one_clear_line(folder, labels, message):
    for name, text in LABELS.items():
        (folder / name).write_text(text, encoding="latin-1")
    y = ["y.npy", "other/y.npy", "yr.npy"] if isinstance(labels, list) else "y.npy"
    with pytest.raises(fl.InputError) as error:
        data(folder, x="x.npy", y=y, labels=labels)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "task.x is missing; needed is file.npy"),
        ({"x": "x.npy"}, "task.y is missing"),
        ({"x": "x.npy", "y": "short.npy"}, "task.x = 'x.npy' has 9 samples and task.y = 'short.npy' has 5"),
        ({"x": "xr.npy", "y": "yr.npy", "center": 1}, "task.center is 1; allowed: true, false"),
        ({"x": "x.npy", "y": "y.npy", "samples": "row"}, "did you mean 'rows'?"),
        ({"x": [], "y": "y.npy"}, "task has an empty list of files"),
        ({"x": ["x.npy", "x.npy"], "y": ["y.npy"]}, "task.x and y list 2 and 1 files; needed are as many"),
        ({"x": ["x.npy", "x.npy"], "y": "y.npy"}, "task lists the same x and y twice"),
        (
            {"x": "x.npy", "y": "y.npy", "labels": ["a", "b"]},
            "task.labels is a list, and task.x and y are one file each; needed is one file",
        ),
        ({"x": "x.npy", "data": fl.Task(X, Y)}, "task.data and task.x are given; give one of them"),
        ({"data": 5}, "task.data is 5; needed is a Task, or a list of them"),
        ({"data": []}, "task.data is []; needed is a Task"),
        (
            {"data": {"a": fl.Task(X, Y), 1: fl.Task(X, Y)}},
            "task.data has the names ['a', 1]; needed are texts",
        ),
        ({"data": {0.5: fl.Task(X, Y)}}, "task.data has the names [0.5]; needed are texts, or whole numbers"),
        ({"data": [fl.Task(X, Y), 5]}, "task.data[1] is 5; needed is a Task"),
        ({"data": fl.Network(X, Y[:, :4])}, "needed is a Task"),
        ({"data": ADAPTED}, "the task is one of fastlin.lora; needed is the task that fastlin.lora is given"),
    ],
    ids=lambda value: None if isinstance(value, str) else ",".join(value),
)
def test_bad_data_are_one_clear_line(folder, given, message):
    with pytest.raises(fl.InputError) as error:
        data(folder, **given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_stacks_are_named_by_their_coordinate(folder):
    tasks = [fl.Task(X, Y), fl.Task(X, -Y)]
    named = data(folder, data=fl.Tasks(tasks, coords={"task": ["first", "second"]}))
    assert named["task"].tolist() == ["first", "second"]
    assert data(folder, data=fl.Tasks(tasks))["task"].tolist() == [0, 1]
    arch = fl.Architecture(4, 2, 3)
    nets = read(WEIGHTS, resolve_weights, folder, data=fl.random_init(arch, "lecun", seed=[3, 5]))
    assert nets["network"].tolist() == [3, 5]
    assert np.array_equal(nets["data"][5].law.w1, fl.random_init(arch, "lecun", seed=5).w1)
    twice = fl.Tasks(tasks, coords={"task": ["first", "first"]})
    with pytest.raises(fl.InputError, match="own data have the name 'first' twice"):
        data(folder, data=twice)
    grid = fl.random_init(arch, "lecun", [1.0, 2.0], seed=[3, 5])
    with pytest.raises(fl.InputError, match="needed is a stack of one dimension"):
        read(WEIGHTS, resolve_weights, folder, data=grid)


def test_a_mean_of_files_is_warned_of_by_the_key(folder):
    np.save(folder / "x.npy", X + 30.0)
    with pytest.warns(fl.MeanWarning, match=r"; task\.center = true subtracts the means"):
        data(folder, x="x.npy", y="y.npy")


def test_weights_are_those_of_the_files(folder):
    values = read(WEIGHTS, resolve_weights, folder, w1="net.npz:w1", w2="net.npz:w2")
    net = fl.random_init(fl.Architecture(4, 2, 3), seed=1)
    assert np.array_equal(values["data"][0].law.w1, net.w1)
    given = read(WEIGHTS, resolve_weights, folder, data=net)
    assert given["data"][0].content["sha256"] == values["data"][0].content["sha256"]
    with pytest.raises(fl.InputError, match=r"needed are \(N_h, N_i\) and \(N_o, N_h\)"):
        read(WEIGHTS, resolve_weights, folder, w1="net.npz:w2", w2="net.npz:w1")
