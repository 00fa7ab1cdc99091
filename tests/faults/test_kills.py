"""Processes that are killed: workers, the coordinator, and at each step of a write. Nothing is lost."""

import itertools
import json
import random
import shutil
import signal
import time

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.store import lease, lease_holders
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import SCRATCH
from fastlin.sweeps.store.slice import Slice
from tests import cutting, fault_injection, sweeping
from tests.campaign import trials
from tests.fault_injection import PATIENCE, until
from tests.planting import Gate
from tests.sweeping import content, marks

pytestmark = pytest.mark.processes

BLOCKS = 80
IN_FLIGHT = 8  # blocks that are begun at a time, on a machine with up to six cores


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A spec on disk, and the content of an undisturbed store of it."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "long.toml").write_text(fault_injection.LONG)
    assert fl.run_sweep(folder / "long.toml", folder / "whole.zarr").blocks == BLOCKS
    return folder / "long.toml", content(folder / "whole.zarr")


@pytest.mark.slow
@trials(2, 100)
def test_killed_workers_are_replaced(long, tmp_path, trials):
    """Workers are killed several times in each sweep, while they start and while they run."""
    source, whole = long
    chance, killed = random.Random(1), 0
    for number in itertools.count():
        path, marked = tmp_path / f"{number}.zarr", -1
        with fault_injection.started("run", source, "--store", path, "--workers", 2, "--json") as process:
            for _ in range(min(5, trials - killed)):
                until(
                    lambda: len(fault_injection.worker_processes(process)) == 2 or process.poll() is not None
                )
                until(lambda: len(marks(path)) > marked or process.poll() is not None)  # noqa: B023
                time.sleep(chance.uniform(0.0, 0.7))
                victims, marked = fault_injection.worker_processes(process), len(marks(path))
                if victims and marked < BLOCKS:
                    chance.choice(victims).kill()
                    killed += 1
            output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        assert json.loads(output)["ok"] == BLOCKS * 8 * 33
        assert content(path) == whole
        if killed >= trials:
            break


@pytest.mark.slow
@trials(3, 50)
def test_a_store_is_completed_after_kills_of_its_coordinator(long, tmp_path, trials):
    """A run is killed until its store is complete. Commit markers do not change."""
    source, whole = long
    chance, path = random.Random(2), tmp_path / "0.zarr"
    for number in range(trials):
        before = marks(path)
        if len(before) > BLOCKS - 30:
            finish(source, path, whole)
            path, before = tmp_path / f"{number}.zarr", {}
        options = ["--workers", 2] if number % 5 == 4 else []
        with fault_injection.started("run", source, "--store", path, *options) as process:
            wanted = len(before) + chance.randrange(12)
            until(lambda: len(marks(path)) >= wanted or process.poll() is not None)  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.1))
            family = fault_injection.descendants(process)
            process.kill()
        until(lambda: not fault_injection.still_running(family))  # noqa: B023
        after = marks(path)
        assert before.items() <= after.items()
        assert len(begun(path)) <= IN_FLIGHT
    finish(source, path, whole)


def begun(path):
    """Return the blocks that have data and no commit marker."""
    done = {file.name for file in marks(path)}
    return {file.name.rpartition(".")[0] for file in (path / "loss").glob("c.*")} - done


def finish(source, path, whole):
    """Complete a store, and check that blocks with a commit marker are not computed again."""
    before = marks(path)
    report = fl.run_sweep(source, path)
    assert report.computed_blocks == BLOCKS - len(before)
    assert before.items() <= marks(path).items()
    assert content(path) == whole


@trials(2, 20)
def test_sigterm_ends_at_once(tmp_path, trials):
    """SIGTERM ends threads and processes while blocks in flight wait at the gate."""
    source = tmp_path / "short.toml"
    source.write_text(fault_injection.SHORT)
    fl.run_sweep(source, tmp_path / "whole.zarr")
    chance, whole = random.Random(3), content(tmp_path / "whole.zarr")
    for number in range(trials):
        path, done = tmp_path / f"{number}.zarr", chance.randrange(1, 20)
        gate = Gate(tmp_path / f"gate-{number}", done)
        options = ["--workers", 2] if number % 2 else []
        with fault_injection.started("run", source, "--store", path, *options, **gate.environment) as process:
            until(lambda: len(marks(path)) == done)  # noqa: B023
            family = fault_injection.descendants(process)
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=PATIENCE)[1].splitlines()
        assert process.returncode == 143
        messages = [line for line in errors if "kernels" not in line and "points/s" not in line]
        assert messages == ["fastlin: stopped; what is complete stays, run the same command again to go on"]
        assert lease_holders.holders(locate(path)) == []
        until(lambda: not fault_injection.still_running(family))  # noqa: B023
        finish(source, path, whole)


def tiny(seeds=3, lams=2, shapes=2, times=2):
    """Return a spec of two blocks. Specs with larger arguments are extensions of it."""
    return sweeping.spec(
        axes={
            "architecture": [[2, 1, 2], [3, 2, 2], [2, 2, 3]][:shapes],
            "seed": {"start": 0, "num": seeds},
            "lam": np.linspace(-1, 1, 5)[:lams].tolist(),
        },
        dynamics={"times": [0.0, 0.5, 0.2][:times]},
        output={"observables": ["loss", "weight_norms"]},
    )


def tabled(rows=5):
    """Return a spec of a table of points with seeds beside it. More rows extend it."""
    lams, scales = [0.5, -1.0, 0.0, 2.0, 1.0, -2.0, 3.0, 0.2], [1.0, 0.5] * 4
    points = {"n_h": ([1, 2] * 4)[:rows], "lam": lams[:rows], "init_scale": scales[:rows]}
    axes = {"architecture": [2, 1, 3], "seed": [0, 1, 2]}
    return {name: part for name, part in tiny().items() if name != "axes"} | {"axes": axes, "points": points}


def sampled(num):
    """Return a spec of a random design of so many points. From 1001 rows on a table is named by its hash."""
    chance = np.random.default_rng(3)
    rows = {"lam": chance.uniform(-1.0, 1.0, 2000), "seed": chance.integers(0, 4, 2000)}
    axes = {"architecture": [2, 1, 2]}
    points = {name: values[:num].tolist() for name, values in rows.items()}
    return {name: part for name, part in tiny().items() if name != "axes"} | {"axes": axes, "points": points}


def own(shapes=2, **sizes):
    """Return a spec like `tiny` of own data. Its architectures have equal numbers of inputs and outputs."""
    content = tiny(shapes=shapes, **sizes)
    content["axes"]["architecture"] = [[2, 1, 2], [2, 2, 2], [2, 3, 2]][:shapes]
    return content | {"task": sweeping.own_task(2, 2)}


def own_list(seeds=3, count=1):
    """Return a spec of a list of own tasks. Specs with larger arguments are extensions of it."""
    tasks = [sweeping.own_task(2, 2, sign)["data"] for sign in (1.0, -1.0)[:count]]
    return own(seeds=seeds) | {"task": {"kind": "data", "data": tasks}}


REDUCED = {"observables": ["loss"], "reduce": {"statistics": ["mean"], "quantiles": [0.5]}}


def chosen(total, trials, seed):
    """Return the steps at which to kill: all of them in the campaign, else some that are spread evenly."""
    return range(total) if trials == 0 else fault_injection.spread(total, trials, random.Random(seed))


@trials(4, 0)
@pytest.mark.parametrize(
    "kind",
    ["points", "joined points", "reduced", "joined reduced", "durable", "table", "reduced table", "own data"],
)
def test_a_kill_before_any_step_leaves_no_false_mark(tmp_path, trials, kind):
    spec = own() if kind == "own data" else tabled() if "table" in kind else tiny()
    spec |= {"output": REDUCED} if "reduced" in kind else {}
    options = {"durable": True} if kind == "durable" else {}
    sizes = {"architectures": 2, "seeds": 2} if "joined" in kind else {"seeds": 3}
    sizes |= {"points": 3} if "table" in kind else {}
    with fault_injection.blocks_in_turn(), cutting.into(**sizes):
        total = len(
            fault_injection.recorded_steps(lambda: fl.run_sweep(spec, tmp_path / "whole.zarr", **options))
        )
        whole = content(tmp_path / "whole.zarr")
        for at in chosen(total, trials, 4):
            path = tmp_path / f"{at}.zarr"
            fault_injection.die_at(at, spec, path, torn=at % 2, sizes=sizes, **options)
            fault_injection.check_recovery(path, lambda: fl.run_sweep(spec, path), whole)  # noqa: B023


GROWTHS = {
    "seeds": {"seeds": 5},
    "all axes": {"seeds": 5, "lams": 4, "shapes": 3},
    "times": {"times": 3},
    "beyond a chunk of an axis": {"seeds": 1030},
    "own tasks": {"seeds": 5, "count": 2},
}
TABLES = {
    "rows": (tabled, 5, 8, 3),
    "from a short table to a long one": (sampled, 900, 1100, 400),
    "of a long table": (sampled, 1100, 1500, 400),
}


@trials(3, 0)
@pytest.mark.parametrize("growth", [*TABLES])
def test_a_kill_during_growth_of_a_table_leaves_the_old_store_or_the_new_one(tmp_path, trials, growth):
    make, few, many, points = TABLES[growth]
    base, grown = tmp_path / "base.zarr", tmp_path / "grown.zarr"
    sizes = {"points": points, "seeds": 3}
    with fault_injection.blocks_in_turn(), cutting.into(**sizes):
        fl.run_sweep(make(few), base)
        old, values = content(base), fl.open_sweep(base).load()
        shutil.copytree(base, grown)
        total = len(fault_injection.recorded_steps(lambda: fl.run_sweep(make(many), grown)))
        new, complete = content(grown), fl.open_sweep(grown).load()
        assert complete.isel(point=slice(few)).equals(values)
        for at in chosen(total, trials, 6):
            path = tmp_path / f"{at}.zarr"
            shutil.copytree(base, path)
            fault_injection.die_at(at, make(many), path, torn=at % 2, sizes=sizes)
            dataset = fl.open_sweep(path).load()
            is_old = dataset.attrs["spec_hash"] == values.attrs["spec_hash"]
            check_ok_points(dataset, values if is_old else complete)
            if is_old:
                old_path = tmp_path / f"{at}-old.zarr"
                shutil.copytree(path, old_path)
                left = {"status/lease/points"} if few <= 1000 else set()
                fault_injection.check_recovery(old_path, lambda: fl.run_sweep(make(few), old_path), old, left)  # noqa: B023
            fault_injection.check_recovery(path, lambda: fl.run_sweep(make(many), path), new)  # noqa: B023


@trials(2, 0)
@pytest.mark.parametrize("joined", [1, 3])
@pytest.mark.parametrize("growth", [*GROWTHS])
def test_a_kill_during_growth_leaves_the_old_store_or_the_new_one(tmp_path, trials, growth, joined):
    made = own_list if growth == "own tasks" else tiny
    small = made(seeds=1020) if growth.startswith("beyond") else made()
    large = made(**GROWTHS[growth])
    leftover = {"seed/c.1"}  # of a growth that was abandoned: no shape reaches it
    base, grown, straight = (tmp_path / f"{name}.zarr" for name in ("base", "grown", "straight"))
    sizes = {"architectures": joined, "seeds": 1020 if growth.startswith("beyond") else 4 - joined}
    with fault_injection.blocks_in_turn(), cutting.into(**sizes):
        fl.run_sweep(small, base)
        old, values = content(base), fl.open_sweep(base).load()
        shutil.copytree(base, grown)
        total = len(fault_injection.recorded_steps(lambda: fl.run_sweep(large, grown)))
        new = content(grown)
        fl.run_sweep(large, straight)
        complete = fl.open_sweep(straight).load()
        assert fl.open_sweep(grown).load().equals(complete)
        for at in chosen(total, trials, 5):
            path = tmp_path / f"{at}.zarr"
            shutil.copytree(base, path)
            fault_injection.die_at(at, large, path, torn=at % 2, sizes=sizes)
            dataset = fl.open_sweep(path).load()
            is_old = dataset.attrs["spec_hash"] == values.attrs["spec_hash"]
            check_ok_points(dataset, values if is_old else complete)
            if is_old:
                old_path = tmp_path / f"{at}-old.zarr"
                shutil.copytree(path, old_path)
                fault_injection.check_recovery(old_path, lambda: fl.run_sweep(small, old_path), old, leftover)  # noqa: B023
            fault_injection.check_recovery(path, lambda: fl.run_sweep(large, path), new)  # noqa: B023


def check_ok_points(dataset, complete):
    """Check that points that count as ok have their final values."""
    ok = (dataset.status == "ok").drop_vars("status")
    for name in dataset.data_vars:
        actual, expected = (part[name].drop_vars("status").where(ok) for part in (dataset, complete))
        assert actual.equals(expected), name


def test_temporary_files_of_dead_writers_are_deleted_and_those_of_live_writers_stay(tmp_path):
    """The temporary file of a dead slice is deleted. That of a live slice stays while the slice lives."""
    spec, path = tiny(), tmp_path / "s.zarr"
    with fault_injection.blocks_in_turn():
        renames = [
            at
            for at, (name, arguments) in enumerate(
                fault_injection.recorded_steps(lambda: fl.run_sweep(spec, tmp_path / "whole.zarr"))
            )
            if name == "replace" and "/status/c." in arguments[1]
        ]
        fault_injection.die_at(renames[0], spec, path)
        assert len(fault_injection.temporary_files(path)) == 1
        holder = lease_holders.new_holder(fl.Spec.from_dict(spec).hash, Slice(1, 2))
        with lease.acquired(locate(path, writer=holder.id), holder, print) as own_lease:
            own_lease.prepared()
            assert fault_injection.temporary_files(path) == []
            living = path / SCRATCH / f"{holder.id}.1.partial"
            living.write_bytes(b"half")
            fl.run_sweep(spec, path, slice="2/2")
            assert fault_injection.temporary_files(path) == [living]
            living.unlink()
        fl.run_sweep(spec, path)
        assert fault_injection.temporary_files(path) == []
        assert content(path) == content(tmp_path / "whole.zarr")
