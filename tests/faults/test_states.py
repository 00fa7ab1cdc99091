"""Any order of running, killing, growing, damaging, verifying and repairing leaves a correct store.

The progress of a killed run depends on the machine. So nothing that Hypothesis draws may depend on it: a rule
draws a number or the seed of a generator, and every rule applies to every store.
"""

import itertools
import random
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

import fastlin as fl
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Threads
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.progress import NoProgress
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.run.run import run
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import metadata
from fastlin.sweeps.store.counts import count_points
from fastlin.sweeps.store.layout import STATUS
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.metadata import ROOT, ROOT_COPY
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import verify
from tests import cutting
from tests.campaign import trials
from tests.fault_injection import changes_something, intercepting

# Hypothesis draws the seed of such a generator and nothing else.
CHANCES = st.randoms(use_true_random=True)
# All values that an axis can have. Times form no uniform grid, so bits do not depend on the other times.
LARGEST = {
    "architecture": [[2, 1, 2], [2, 2, 3], [3, 2, 2]],
    "init_scale": [0.5, 1.0, 2.0],
    "seed": [0, 1, 2, 5, 9],
    "lam": [-2.0, -1.0, 0.0, 0.5, 3.0],
    "time": [0.0, 0.3, 1.0, 7.0],
}


class KilledError(BaseException):
    """Raised by a test where a process would die. The library does not catch it."""


def dying(number):
    """Make this process stop changing the store from step `number` on, as if it had died.

    No thread of it changes anything afterwards. Heartbeats are not counted as steps, because they follow the
    clock.
    """
    counter = itertools.count(1)

    def intercept(name, arguments):
        alive = threading.current_thread().name == "lease" or not changes_something(name, arguments)
        if not alive and next(counter) >= number:
            raise KilledError

    return intercepting(intercept)


def possible_files(path):
    """Return the keys of all files that a store may have by its root document or the copy of it.

    They follow from the specs alone. A block that is not computed yet has no files.
    """
    place = locate(path)
    roots = (metadata.read_root(place.read(key)) for key in (ROOT, ROOT_COPY))
    attributes = next(root for root in roots if root is not None)
    layout = metadata.read_layout(attributes, place)
    chunks = [
        form.key(name, chunk)
        for index in map(layout.index, range(layout.block_count))
        for name, form in {STATUS: layout.status, **layout.values}.items()
        for chunk, _ in form.parts(index)
    ]
    return [ROOT, *attributes["documents"], *chunks]


def damage(path, chance, spared):
    """Truncate, empty or flip a bit of a file of a store. Return its key, or None if all files are spared."""
    keys = sorted(set(possible_files(path)) - spared)
    chance.shuffle(keys)
    key = next((key for key in keys if (path / key).exists()), None)
    if key is None:
        return None
    data = bytearray((path / key).read_bytes())
    how = chance.choice(("flip", "truncate", "empty"))
    if how == "flip":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    length = {"flip": len(data), "truncate": chance.randrange(len(data)), "empty": 0}[how]
    (path / key).write_bytes(data[:length])
    return key


# All rows that a table can have. The product has their values, in another order.
COLUMNS = ("architecture", "init_scale", "lam")
ROWS = [*itertools.product(*(LARGEST[name][::-2] for name in COLUMNS))]
LARGEST_TABLE = {"row": ROWS, "seed": LARGEST["seed"], "time": LARGEST["time"]}


def spec_of(axes):
    """Return the spec of a product, or of a table if an axis has rows."""
    points = (
        {"points": dict(zip(COLUMNS, zip(*axes["row"], strict=True), strict=True))} if "row" in axes else {}
    )
    return Spec.from_dict(
        {
            "axes": {name: values for name, values in axes.items() if name not in ("time", "row")},
            "task": {"n_samples": 5},
            "dynamics": {"times": axes["time"]},
            "output": {"observables": ["loss", "weight_norms"]},
        }
        | points
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory, client):
    path = tmp_path_factory.mktemp("largest") / "s.zarr"
    fl.run_sweep(spec_of(LARGEST), path, client)
    return fl.open_sweep(path).load()


class Sweep(RuleBasedStateMachine):
    """One store of a product, its axes, and the keys of its damaged files."""

    client = reference = None
    largest = LARGEST

    @initialize(chance=CHANCES)
    def create(self, chance):
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "s.zarr"
        self.axes = {name: choose_some(chance, values) for name, values in self.largest.items()}
        self.sizes = {
            name: chance.randrange(1, 4) for name in ("architectures", "init_scales", "seeds", "points")
        }
        self.damaged = set()

    def teardown(self):
        if hasattr(self, "folder"):
            self.check_the_end()
            shutil.rmtree(self.folder)

    @property
    def spec(self):
        return spec_of(self.axes)

    @property
    def exists(self):
        return (self.path / ROOT).exists()

    def run(self, choices=RunOptions(), client=None):  # noqa: B008 - it is frozen
        with cutting.into(**self.sizes):
            return run(self.spec, self.path, client or self.client, choices, NoProgress())

    def make(self):
        """Create the store without blocks, if it does not exist."""
        if not self.exists:
            self.run(RunOptions(only=frozenset()))

    def refused(self):
        """Return whether the root document is damaged. If it is, check that a run reports it."""
        if ROOT not in self.damaged:
            return False
        with pytest.raises(fl.InputError, match=r"zarr\.json is damaged; fastlin repair .* mends it"):
            self.run()
        return True

    def computed_again(self):
        """Update the damaged keys. A run has rewritten metadata, and all files of blocks without a marker."""
        self.damaged = {entry.key for entry in verify(self.path)}

    @rule(share=st.floats(0.0, 1.0), chance=CHANCES)
    def run_some(self, share, chance):
        if self.refused():
            return
        self.make()
        count = Store.open(locate(self.path)).layout.block_count
        some_blocks = frozenset(number for number in range(count) if chance.random() < share)
        self.run(RunOptions(only=some_blocks))
        self.computed_again()

    @rule()
    def run_all(self):
        if self.refused():
            return
        self.run()
        self.computed_again()
        assert self.run().computed_blocks == 0

    @rule(number=st.integers(1, 120))
    def kill(self, number):
        if self.refused():
            return
        # The client's threads end with it, as those of a killed process do.
        with dying(number), suppress(KilledError), connect(Threads()) as client:
            self.run(client=client)
        if self.exists:
            self.computed_again()

    @rule(chance=CHANCES, finish=st.booleans())
    def grow(self, chance, finish):
        if self.refused():
            return
        self.axes = {
            name: choose_some(chance, values, self.axes[name]) for name, values in self.largest.items()
        }
        self.run(RunOptions() if finish else RunOptions(only=frozenset()))
        self.computed_again()

    @rule(chance=CHANCES)
    def corrupt(self, chance):
        self.make()
        key = damage(self.path, chance, spared=self.damaged)
        if key is not None:
            self.damaged.add(key)

    @rule()
    def verify(self):
        self.make()
        assert {entry.key for entry in verify(self.path)} == self.damaged

    @rule()
    def repair(self):
        self.make()
        before = verify(self.path)
        repaired, report = repair(self.path, self.client)
        assert repaired == before
        assert report.computed_blocks == len({entry.block for entry in repaired} - {None})
        assert verify(self.path) == []
        self.damaged = set()

    @rule()
    def retry(self):
        if self.refused():
            return
        report = fl.run_sweep(self.spec, self.path, self.client, retry_failed=True)
        self.computed_again()
        assert (report.diverged, report.failed, report.pending) == (0, 0, 0)

    @invariant()
    def what_is_done_is_right(self):
        if not hasattr(self, "path") or not self.exists or self.damaged:
            return
        dataset = fl.open_sweep(self.path).load()
        expected = self.expected(dataset)
        done = dataset.status == "ok"
        for name in ("loss", "weight_norms"):
            stored = dataset[name].where(done)
            correct = expected[name].where(done).transpose(*stored.dims)
            assert np.array_equal(stored.values, correct.values, equal_nan=True)
            assert np.isfinite(dataset[name].where(done, 0.0)).all()

    def expected(self, dataset):
        """Return the same points of the reference."""
        return self.reference.sel({name: dataset[name] for name in ("seed", "time", *COLUMNS)})

    def check_the_end(self):
        if self.exists and self.damaged:
            repair(self.path, self.client)
        self.run()
        self.damaged = set()
        assert count_points(Store.open(locate(self.path))).complete.all()
        assert verify(self.path) == []
        self.what_is_done_is_right()
        assert not list(self.path.rglob("*.partial"))


def choose_some(chance: random.Random, values, required=()):
    """Return at least one of the values: all that are `required`, and behind them others in their order."""
    others = [value for value in values if value not in required and chance.random() < 0.4]
    return [*required, *others] or [chance.choice(values)]


class TableSweep(Sweep):
    """One store of a table of points."""

    largest = LARGEST_TABLE


@trials(6, 1000)
@pytest.mark.parametrize("machine", [Sweep, TableSweep], ids=["product", "table"])
def test_any_history_leaves_a_correct_store(client, reference, trials, machine):
    machine.client, machine.reference = client, reference
    run_machine(
        machine,
        settings=settings(
            phases=[Phase.generate],
            max_examples=trials,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
