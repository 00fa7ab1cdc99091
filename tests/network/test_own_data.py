"""Tasks and weights of the user in the form that specs keep."""

import json
import zlib
from base64 import b64encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import fastlin as fl
from fastlin.kinds import own_data
from fastlin.kinds.own_data import DataTask, GivenWeights, KeptTask, OwnItems, OwnNetwork, OwnTask

DRAW = np.random.default_rng(5)
X, Y = DRAW.standard_normal((4, 9)), DRAW.standard_normal((3, 9))
TASKS = {
    "general": fl.Task(X, Y, labels=list("aabbccddd")),
    "centred": fl.Task(X, Y, center=True),
    "white": fl.Task(X, Y).whiten(),
    "dependent": fl.Task(X[:, :2], Y[:, :2]).whiten(),
    "statistics": fl.Task.from_sigma(np.diag([3.0, 1.0]), floor=0.5),
    "drawn": fl.random_regression(fl.Architecture(4, 2, 3), 9, seed=2),
}


def kept(task):
    """Return the task that is read from JSON."""
    return OwnTask.read("task.data", json.loads(json.dumps(OwnTask.of(0, task).content))).law.task


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_kept_to_the_last_bit(name):
    task = TASKS[name]
    read = kept(task)
    for part in ("sigma_yx", "sigma_xx", "x_mean", "y_mean", *(("X", "Y") if task.has_samples else ())):
        assert getattr(read, part).tobytes() == getattr(task, part).tobytes(), part
    for part in ("loss_floor", "sigma_yy_trace", "inputs", "labels", "n_i", "n_o"):
        assert getattr(read, part) == getattr(task, part), part
    assert (read.whitening is None) == (task.whitening is None)
    assert repr(read).startswith(f"<Task of {task.n_i} inputs (")


def test_large_samples_are_dropped_and_statistics_stay(monkeypatch):
    monkeypatch.setattr(own_data, "SAMPLE_BYTES", 100)
    task = TASKS["general"]
    read = kept(task)
    assert not read.has_samples and read.n_samples == 9 and read.labels is None
    assert DataTask(read).n_samples is None and DataTask(task).n_samples == 9
    with pytest.raises(
        fl.InputError, match="samples of the task were not kept: a spec keeps at most 100 bytes"
    ):
        read.X  # noqa: B018
    assert np.allclose(read.whiten().sigma_yx, task.whiten().sigma_yx)
    assert OwnTask.of(0, fl.Task(X, Y)).content["sha256"] == own_data.digest(X, Y)


def test_statistics_that_are_too_large_are_refused(monkeypatch):
    monkeypatch.setattr(own_data, "MAX_BYTES", 100)
    with pytest.raises(fl.InputError, match="the statistics of the task are 0 MB; a spec holds at most 0 MB"):
        OwnTask.of(0, TASKS["general"])
    with pytest.raises(fl.InputError, match="the weights are 0 MB"):
        OwnNetwork.of(0, fl.Network(np.ones((5, 3)), np.ones((2, 5))))


def test_hashes_tell_tasks_apart():
    hashes = {OwnTask.of(0, task).content["sha256"] for task in TASKS.values()}
    assert len(hashes) == len(TASKS)
    assert OwnTask.of(1, fl.Task(X, Y)).content["sha256"] == OwnTask.of(0, fl.Task(X, Y)).content["sha256"]


@given(values=arrays(np.float64, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1e60, 1e60)))
def test_arrays_are_coded_without_loss(values):
    assert own_data.decode(own_data.encode(values), values.shape).tobytes() == values.tobytes()


def test_weights_are_kept_to_the_last_bit():
    net = fl.random_init(fl.Architecture(4, 2, 3), seed=3)
    law = OwnNetwork.read("init.data", json.loads(json.dumps(OwnNetwork.of(0, net).content))).law
    first, second = law.weights(7, fl.Architecture(4, 2, 3).sizes)
    assert np.array_equal(first, net.w1) and np.array_equal(second, net.w2)
    assert np.array_equal(law.product(7, None), net.w2 @ net.w1)
    assert law.obstacle(fl.Architecture(4, 2, 3)) is None
    assert law.obstacle(fl.Architecture(4, 3, 3)) == "the weights of the start are those of 4-2-3"


def test_a_law_of_data_draws_the_task_of_every_seed():
    law, sizes = DataTask(TASKS["general"]), fl.Architecture(4, 2, 3).sizes
    assert law.draw(0, sizes).sigma_xx is not None and not law.white
    assert DataTask(TASKS["white"]).draw(1, sizes).sigma_xx is None
    assert (
        law.obstacle(fl.Architecture(5, 2, 3))
        == "the data of the task have N_i = 4 inputs and N_o = 3 outputs"
    )
    assert isinstance(OwnTask.of(0, TASKS["general"]).law.task, KeptTask)


@pytest.mark.parametrize(
    "change",
    [
        {"sigma_yx": "?"},
        {"sigma_yx": b64encode(b"no").decode()},
        {"shape": [3, 5]},
        {"shape": 3},
        {"floor": None},
        {"sigma_yx": b64encode(zlib.compress(b"12345")).decode()},
    ],
)
def test_what_fastlin_has_not_written_is_refused(change):
    content = {**OwnTask.of(0, TASKS["general"]).content, **change}
    if change.get("floor", 0.0) is None:
        del content["floor"]
    with pytest.raises(fl.InputError, match=r"^task\.data is none that fastlin has written: .*$"):
        OwnTask.read("task.data", content)


def items(axis, **tasks):
    return OwnItems([OwnTask.of(name, task, source(name)) for name, task in tasks.items()], axis)


def source(name):
    return {"x": {"file": f"{name}.npy", "sha256": f"{name}{name}"}}


def test_changes_name_what_has_changed():
    general, white = TASKS["general"], TASKS["white"]
    assert own_data.changes("task", items(True, a=general), items(True, b=white, a=general)) == []
    (line,) = own_data.changes("task", items(True, a=general, b=white), items(True, a=general))
    assert line == "task: the store has 'b', which the spec lacks"
    (line,) = own_data.changes("task", items(True, a=general), items(False, a=general))
    assert line == "task: the store has a list, the spec one"
    (line,) = own_data.changes("task", items(False, a=general), items(False, a=white))
    assert line.startswith("task: the sha256 of what is given begins with ")
    changed = OwnItems([OwnTask.of("a", white, source("b"))], axis=False)
    (line,) = own_data.changes("task", items(False, a=general), changed)
    assert line == (
        "task.x: b.npy has changed; its sha256 begins with bb, "
        "and that of a.npy, of which the store was made, with aa"
    )


def test_weights_of_every_seed_are_those_given():
    law = GivenWeights(np.ones((2, 4)), np.ones((3, 2)))
    assert (law.power, law.product(0, None).shape) == (2, (3, 4))


def test_a_task_of_an_adapter_is_refused():
    """A spec would keep its statistics alone, and a sweep would take it for a task of whole networks."""
    adapted, _ = fl.lora(fl.Task.from_sigma(np.diag([2.0, 1.0])), np.zeros((2, 2)), rank=1)
    with pytest.raises(fl.InputError, match=r"the task is one of fastlin\.lora"):
        OwnTask.of(0, adapted)
    content = {
        "axes": {"architecture": ["2-3-2"], "seed": 0, "lam": [0.0]},
        "dynamics": {"solver": "exact", "times": [0.0, 1.0]},
        "output": {"observables": ["loss"]},
    }
    with pytest.raises(fl.InputError, match=r"the task is one of fastlin\.lora"):
        fl.Spec.read(content, task=adapted)
