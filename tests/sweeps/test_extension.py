"""Sweeps that grow: only new points are computed, and the result equals a sweep of the larger spec."""

import contextlib
import itertools
import random
import signal
from contextlib import contextmanager
from functools import partial

import dask
import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.store import folder
from fastlin.sweeps.store.verify import verify
from tests import commands, cutting, sweeping
from tests.campaign import trials
from tests.commands import SMALL, run_to_end
from tests.sweeping import content

# Times form no uniform grid, so that bits do not depend on the other times.
BASE = {
    "architecture": [[4, 2, 2], [2, 3, 4]],
    "init_scale": [0.5, 1.5],
    "seed": [1, 3, 4],
    "lam": [-4.0, 0.0, 4.0],
    "solver": ["gradient_descent"],
    "learning_rate": [0.01],
    "time": [0.0, 0.9, 5.0],
}
MORE = {
    "architecture": [[1, 1, 1], [3, 4, 3]],
    "init_scale": [1.0, 2.0],
    "seed": [0, 2, 9],
    "lam": [-6.0, -1.0, 6.0],
    "solver": ["exact"],
    "learning_rate": [0.005, 0.02],
    "time": [0.3, 2.2, 8.0],
}
REDUCE = {
    "observables": ["loss", "weight_norms"],
    "reduce": {"statistics": ["mean", "max"], "quantiles": [0.5]},
}


def spec(values, output=None):
    """Return a spec with these values on its axes."""
    axes = {name: entry for name, entry in values.items() if name not in ("solver", "learning_rate", "time")}
    dynamics = {name: values[name] for name in ("solver", "learning_rate")} | {"times": values["time"]}
    return sweeping.spec(name="grown", axes=axes, dynamics=dynamics, **({"output": output} if output else {}))


def extend(values, names):
    """Return values with some of MORE added. `names` maps an axis to the indices of the added values."""
    extended = dict(values)
    for name, which in names.items():
        added = [MORE[name][number] for number in which if MORE[name][number] not in values[name]]
        merged = [*added, *values[name]]
        extended[name] = merged if name in ("architecture", "solver") else sorted(merged)
    return extended


def count(values):
    """Return the number of points."""
    return int(np.prod([len(entry) for name, entry in values.items() if name != "time"]))


def values_of(path):
    """Return the content of a store without the block shape of its seeds."""
    dataset = fl.open_sweep(path).load()
    return dataset.drop_dims("seed_block") if "seed_block" in dataset.dims else dataset


def test_slices_share_the_blocks_that_a_store_gains(tmp_path):
    """By number, every second block has the new seeds, so that one of two slices would compute them all."""
    path, larger = tmp_path / "s.zarr", extend(BASE, {"seed": [0, 2]})
    with cutting.into(seeds=3):
        fl.run_sweep(spec(BASE), path)
    shares = [fl.run_sweep(spec(larger), path, slice=f"{number}/2").computed_blocks for number in (1, 2)]
    assert shares == [2, 2]
    whole = extend(larger, {"architecture": [0], "init_scale": [0]})
    shares = [fl.run_sweep(spec(whole), path, slice=f"{number}/5").computed_blocks for number in range(1, 6)]
    assert shares == [2, 2, 2, 2, 2]
    assert fl.run_sweep(spec(whole), path).computed_blocks == 0


def grow(client, path, steps, output=None):
    """Run several specs in turn into one store, and check that each run computes only new points."""
    before = None
    for values in steps:
        report = fl.run_sweep(spec(values, output), path, client)
        assert (report.pending, report.ok) == (0, count(values))
        # A reduced store of so few seeds has no partial sums, so all seeds are computed again with the new
        # seeds.
        anew = ["time", "seed"] if output and "reduce" in output else ["time"]
        if before is None or any(values[name] != before[name] for name in anew):
            assert report.computed_points == count(values)
        else:
            assert report.computed_points == count(values) - count(before)
        before = values
    assert fl.run_sweep(spec(before, output), path, client).computed_points == 0


def check_grown(client, tmp_path, steps, output=None):
    grow(client, tmp_path / "grown.zarr", steps, output)
    fl.run_sweep(spec(steps[-1], output), tmp_path / "fresh.zarr", client)
    assert values_of(tmp_path / "grown.zarr").identical(values_of(tmp_path / "fresh.zarr"))
    assert verify(tmp_path / "grown.zarr") == []


MIXED = {"seed": [1], "lam": [1], "time": [1]}
CASES = {
    **{name: {name: range(len(entries))} for name, entries in MORE.items()},
    **{f"{name}-{which}": {name: [which]} for name in MORE for which in (0, -1)},
    "several": MIXED,
    "points": {name: [0, -1] for name in ("architecture", "init_scale", "seed", "lam")},
    "all": {name: [0] for name in MORE},
}


def cases(shapes, *quick):
    """Test all growths with all block shapes in the campaign, and the `quick` growths also as slow tests.

    By default each of the quick growths is tested with one of the shapes in turn.
    """
    parameters = []
    for name, (shape, sizes) in itertools.product(CASES, shapes.items()):
        marks = pytest.mark.campaign
        if name in quick:
            turn = list(shapes)[quick.index(name) % len(shapes)]
            marks = () if shape == turn else pytest.mark.slow
        parameters.append(pytest.param(CASES[name], sizes, id=f"{name}-{shape}", marks=marks))
    return pytest.mark.parametrize(("names", "sizes"), parameters)


SHAPES = {
    "apart": cutting.APART,
    "joined": cutting.JOINED,
    # Blocks with space for values that the axes will gain.
    "roomy": dict.fromkeys(("architectures", "init_scales", "solvers", "learning_rates", "seeds"), 3),
}
APART_OR_JOINED = {name: SHAPES[name] for name in ("apart", "joined")}


@cases(SHAPES, *MORE, "several")
def test_an_axis_grows(client, tmp_path, names, sizes):
    with cutting.into(**sizes):
        check_grown(client, tmp_path, [BASE, extend(BASE, names)])


@cases(SHAPES, "architecture", "seed", "lam", "time", "several")
def test_an_axis_grows_under_statistics(client, tmp_path, names, sizes):
    with cutting.into(**sizes):
        check_grown(client, tmp_path, [BASE, extend(BASE, names)], REDUCE)


@trials(2, 50)
@pytest.mark.parametrize("output", [None, REDUCE], ids=["points", "reduced"])
def test_axes_grow_at_random_again_and_again(client, tmp_path, trials, output):
    for trial in range(trials):
        chance = random.Random(trial)
        steps = [{name: entries[:] for name, entries in BASE.items()}]
        for _ in range(chance.randrange(1, 4)):
            axes = chance.sample(list(MORE), chance.randrange(1, 4))
            steps.append(extend(steps[-1], {name: {chance.randrange(len(MORE[name]))} for name in axes}))
        folder = tmp_path / str(trial)
        folder.mkdir()
        with cutting.into(**{name: chance.randrange(1, 5) for name in cutting.JOINED}):
            check_grown(client, folder, steps, output)


def at_each_write(monkeypatch, look, every):
    """Call `look` before each `every`-th write to a store, and at the first and the last document."""
    real, number = folder.LocalFolder.write, itertools.count()

    def write(place, key, *parts):
        if next(number) % every == 0 or key == "zarr.json":
            look()
        real(place, key, *parts)
        if key == "zarr.json":
            look()

    monkeypatch.setattr(folder.LocalFolder, "write", write)


@cases(APART_OR_JOINED, "seed", "architecture", "time", "several")
def test_datasets_that_were_opened_before_a_growth_stay_readable(client, tmp_path, monkeypatch, names, sizes):
    """Between any two writes a dataset that was opened before and one that is opened then can be read."""
    path = tmp_path / "s.zarr"
    larger = extend(BASE, names)
    with cutting.into(**sizes):
        fl.run_sweep(spec(BASE), path, client)
        fl.run_sweep(spec(larger), tmp_path / "fresh.zarr", client)
    final = fl.open_sweep(tmp_path / "fresh.zarr").load()
    lazy, loaded = fl.open_sweep(path), fl.open_sweep(path).load()
    shares = []

    def look():
        reread = lazy.copy().load()
        assert reread.drop_vars("status").identical(loaded.drop_vars("status"))
        new = fl.open_sweep(path)
        status = new.status.load()
        new = new.load()
        assert set(np.unique(status)) <= {"pending", "ok"}
        if new.sizes == final.sizes:
            for observable in new.data_vars:
                ok = (status == "ok").broadcast_like(new[observable]).transpose(*new[observable].dims)
                assert (new[observable].values == final[observable].values)[ok.values].all()
        shares.append(float((status == "ok").mean()))

    # Otherwise Dask would create a client where a thread of a worker opens a store, and use it from then on.
    with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
        at_each_write(patch, look, every=31 * len(names) if sizes == cutting.APART else 7)
        fl.run_sweep(spec(larger), path, client)
    look()
    assert len(shares) > 2 and shares[-1] == 1.0
    assert lazy.load().identical(loaded)
    assert fl.open_sweep(path).load().identical(final)


@pytest.mark.parametrize("joined", [1, 2])
def test_growing_leaves_the_files_of_complete_blocks_alone(client, tmp_path, joined):
    """If blocks already hold both init_scales, the third is in another block."""
    path = tmp_path / "s.zarr"
    with cutting.into(init_scales=joined):
        fl.run_sweep(spec(BASE), path, client)
    before = {key: data for key, data in content(path).items() if "/c." in key and not key.startswith("lam/")}
    fl.run_sweep(spec(extend(BASE, {"lam": [0, 1], "init_scale": [0]})), path, client)
    after = content(path)
    coordinates = ("init_scale/",)
    assert all(after[key] == data for key, data in before.items() if not key.startswith(coordinates))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"axes": {"lam": [-4.0, 4.0, 5.0]}}, "axes.lam: the store has"),
        ({"axes": {"lam": -4.0}}, "axes.lam: the store has"),
        ({"axes": {"seed": [1, 3, 5]}}, "axes.seed: the store has"),
        ({"axes": {"architecture": [[4, 2, 2]]}}, "axes.architecture: the store has"),
        ({"axes": {"init_scale": [1.5]}}, "axes.init_scale: the store has"),
        ({"dynamics": {"times": [0.0, 0.9]}}, "dynamics.times: the store has"),
        ({"dynamics": {"solver": ["exact"], "learning_rate": 0.01}}, "dynamics.solver: the store has"),
        ({"dynamics": {"solver": "gradient_descent"}}, "dynamics.solver: the store has"),
        ({"dynamics": {"learning_rate": 0.01}}, "dynamics.learning_rate: the store has"),
        ({"dynamics": {"learning_rate": [0.02]}}, "dynamics.learning_rate: the store has"),
        ({"task": {"n_samples": 9}}, "task.n_samples: the store has 8, the spec 9"),
        ({"init": {"kind": "aligned"}}, "init.kind: the store has"),
        ({"output": {"dtype": "float32"}}, 'output.dtype: the store has "float64", the spec "float32"'),
        ({"output": {"observables": ["loss"]}}, "output.observables: the store has"),
        ({"output": {"reduce": {}}}, "output.reduce: the store has nothing, the spec"),
    ],
)
def test_a_spec_that_does_not_extend_is_refused_with_the_difference(client, tmp_path, change, line):
    """Nothing is written. Another axis grows as well, which is not listed as a difference."""
    path = tmp_path / "s.zarr"
    fl.run_sweep(spec(BASE), path, client)
    before, other = content(path), spec(extend(BASE, {"init_scale": [0]}))
    for section, entries in change.items():
        other[section] = other.get(section, {}) | entries
    with pytest.raises(fl.InputError, match="was made from another spec") as caught:
        fl.run_sweep(other, path, client)
    lines = [text.strip() for text in str(caught.value).splitlines()[1:]]
    assert any(text.startswith(line) for text in lines)
    assert len(lines) == len(next(iter(change.values())))
    assert content(path) == before


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """SMALL and a larger spec as files, and the files of a store that grew from the first to the second."""
    folder = tmp_path_factory.mktemp("grown")
    source, larger, path = folder / "s.toml", folder / "l.toml", folder / "s.zarr"
    source.write_text(SMALL)
    larger.write_text(SMALL.replace("num = 6", "num = 7").replace("[0.0, 0.9, 9.0", "[0.0, 0.9, 2.0, 9.0"))
    assert run_to_end("run", source, "--store", path, patches=[CUT]).code == 0
    assert run_to_end("run", larger, "--store", path).code == 0
    return source, larger, content(path)


CUT = partial(commands.smaller_blocks, 4, architectures=2)
STOPS = [  # at each of its eight groups but the first, and at each of its twelve chunks but the last
    *(("fastlin.sweeps.run.block", "compute", at) for at in range(2, 9)),
    *(("fastlin.sweeps.store.codec", "encode", at) for at in range(1, 12)),
]


@contextmanager
def overtaken(source, path, module, name, at):
    """Run a sweep that stops in a function, and mark it as dead as if its heartbeats had expired."""
    stopping = partial(commands.stop_in_call, module, name, at)
    with commands.command("run", source, "--store", path, patches=[CUT, stopping]) as sleeper:
        assert commands.wait_until_stopped(sleeper)
        commands.write_lease(path, process=commands.NO_PROCESS)
        yield sleeper
        sleeper.send(signal.SIGCONT)
        last = sleeper.end()
    # Blocks that it had not begun are computed as blocks of the larger sweep.
    assert last.code == 0 or "was changed by another run; run the same command again" in last.line


@pytest.mark.processes
@trials(2, 20)
@pytest.mark.parametrize("meanwhile", [False, True], ids=["after", "meanwhile"])
def test_a_writer_from_before_a_growth_does_not_destroy_newer_blocks(grown, tmp_path, trials, meanwhile):
    """The writer stops, for example between values and commit marker, and resumes when the store has grown.

    The block that it was writing may be pending then, but no incomplete block counts as complete.
    """
    source, larger, expected = grown
    chance = random.Random(8)
    for trial in range(trials):
        path = tmp_path / f"{trial}.zarr"
        stop = partial(commands.stop_in_call, "fastlin.sweeps.run.run", "count_points")
        waiting = [stop] if meanwhile else []
        with contextlib.ExitStack() as stack:
            with overtaken(source, path, *chance.choice(STOPS)):
                other = stack.enter_context(commands.command("run", larger, "--store", path, patches=waiting))
                assert commands.wait_until_stopped(other) == meanwhile
            if meanwhile:
                other.send(signal.SIGCONT)
            assert other.end().code == 0
        dataset = fl.open_sweep(path).load()
        ok = (dataset.status == "ok").broadcast_like(dataset.loss)
        assert dataset.loss.notnull().where(ok, True).all()
        assert run_to_end("run", larger, "--store", path).code == 0
        assert content(path) == expected


def test_two_stores_grown_in_another_order_hold_the_same(client, tmp_path):
    steps = [extend(BASE, {name: [0]}) for name in ("lam", "seed", "time")]
    last = extend(BASE, {"lam": [0, 1], "seed": [0], "time": [0]})
    grow(client, tmp_path / "one.zarr", [BASE, steps[0], last])
    grow(client, tmp_path / "two.zarr", [BASE, steps[1], last])
    grow(client, tmp_path / "three.zarr", [BASE, steps[2], last])
    one, two, three = (values_of(tmp_path / f"{name}.zarr") for name in ("one", "two", "three"))
    assert one.identical(two)
    assert one.identical(three)
