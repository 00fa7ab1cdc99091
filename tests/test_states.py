"""Any order of running, killing, growing, damaging, checking and mending leaves a store that is right."""

import itertools
import random
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

import fastlin as fl
from fastlin.sweeps import lease, places, verifying
from fastlin.sweeps.choices import Choices
from fastlin.sweeps.progress import Silent
from fastlin.sweeps.running import run
from fastlin.sweeps.spec import Spec
from fastlin.sweeps.store import Store
from fastlin.sweeps.tally import tally
from tests import cutting
from tests.campaign import trials
from tests.faults import changes_something, striking
from tests.sweeping import content

# All values that an axis may come to have. Times are no uniform grid, so bits do not depend on the others.
LARGEST = {
    "architecture": [[2, 1, 2], [2, 2, 3], [3, 2, 2]],
    "init_scale": [0.5, 1.0, 2.0],
    "seed": [0, 1, 2, 5, 9],
    "lam": [-2.0, -1.0, 0.0, 0.5, 3.0],
    "time": [0.0, 0.3, 1.0, 7.0],
}


class KilledError(BaseException):
    """What a test raises where a process would die: nobody catches it."""


def dying(number):
    """Let this process die, as far as its store is concerned, at a step that changes something there."""
    counter = itertools.count(1)

    def strike(name, arguments):
        if changes_something(name, arguments) and next(counter) == number:
            raise KilledError

    return striking(strike)


def damage(path, draw, spared):
    """Truncate, empty or flip a bit of a file of a store; return its key, or None where all are spared."""
    keys = sorted(key for key in content(path) if not key.startswith(lease.KEY.rpartition("/")[0]))
    keys = [key for key in keys if key not in spared]
    if not keys:
        return None
    file = path / (key := draw.choice(keys))
    data = bytearray(file.read_bytes())
    how = draw.choice(("flip", "truncate", "empty"))
    if how == "flip":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data if how == "flip" else data[: 0 if how == "empty" else draw.randrange(len(data))])
    return key


def spec_of(axes):
    return Spec.from_dict(
        {
            "axes": {name: values for name, values in axes.items() if name != "time"},
            "task": {"n_samples": 5},
            "dynamics": {"times": axes["time"]},
            "output": {"observables": ["loss", "weight_norms"]},
        }
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory, client):
    path = tmp_path_factory.mktemp("largest") / "s.zarr"
    fl.run_sweep(spec_of(LARGEST), path, client)
    return fl.open_sweep(path).load()


class Sweep(RuleBasedStateMachine):
    """One store, and what is known about it: its axes, and what is damaged."""

    client = reference = None

    @initialize(draw=st.randoms(use_true_random=False))
    def create(self, draw):
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "s.zarr"
        self.axes = {name: some(draw, values) for name, values in LARGEST.items()}
        self.sizes = {name: draw.randrange(1, 4) for name in ("architectures", "init_scales", "seeds")}
        self.damaged = set()

    def teardown(self):
        if hasattr(self, "folder"):
            self.check_the_end()
            shutil.rmtree(self.folder)

    @property
    def spec(self):
        return spec_of(self.axes)

    @property
    def there(self):
        return (self.path / "zarr.json").exists()

    def run(self, choices=Choices()):  # noqa: B008 - it is frozen
        with cutting.into(**self.sizes):
            return run(self.spec, self.path, self.client, choices, Silent())

    def computed_again(self):
        """Note that a run has mended documents and marks, and with a mark all values of its block."""
        self.damaged = {entry.key for entry in verifying.verify(self.path)}

    @precondition(lambda self: not self.root_damaged)
    @rule(share=st.floats(0.0, 1.0), draw=st.randoms(use_true_random=False))
    def run_some(self, share, draw):
        if not self.there:
            self.run(Choices(only=frozenset()))
        count = Store.open(places.of(self.path)).layout.block_count
        some_blocks = frozenset(number for number in range(count) if draw.random() < share)
        self.run(Choices(only=some_blocks))
        self.computed_again()

    @precondition(lambda self: not self.root_damaged)
    @rule()
    def run_all(self):
        self.run()
        self.computed_again()
        assert self.run().computed_blocks == 0

    @precondition(lambda self: not self.root_damaged)
    @rule(number=st.integers(1, 120))
    def kill(self, number):
        with dying(number), suppress(KilledError):
            self.run()
        place = places.of(self.path)
        dead = replace(lease.new_holder(self.spec.hash), process=2**22 + 1)
        if self.there:
            place.write(lease.KEY, lease.document([dead]))
            self.computed_again()

    @precondition(lambda self: not self.root_damaged)
    @rule(draw=st.randoms(use_true_random=False), finish=st.booleans())
    def grow(self, draw, finish):
        self.axes = {name: some(draw, values, self.axes[name]) for name, values in LARGEST.items()}
        self.run(Choices() if finish else Choices(only=frozenset()))
        self.computed_again()

    @precondition(lambda self: self.there)
    @rule(draw=st.randoms(use_true_random=False))
    def corrupt(self, draw):
        key = damage(self.path, draw, spared=self.damaged)
        if key is not None:
            self.damaged.add(key)

    @precondition(lambda self: self.there)
    @rule()
    def verify(self):
        assert {entry.key for entry in verifying.verify(self.path)} == self.damaged

    @precondition(lambda self: self.there)
    @rule()
    def repair(self):
        before = verifying.verify(self.path)
        found, report = verifying.repair(self.path, self.client)
        assert found == before
        assert report.computed_blocks == len({entry.block for entry in found} - {None})
        assert verifying.verify(self.path) == []
        self.damaged = set()

    @precondition(lambda self: self.there and not self.damaged)
    @rule()
    def retry(self):
        report = fl.run_sweep(self.spec, self.path, self.client, retry_failed=True)
        assert (report.diverged, report.failed, report.pending) == (0, 0, 0)

    @property
    def root_damaged(self):
        return "zarr.json" in self.damaged

    @invariant()
    def what_is_done_is_right(self):
        if not hasattr(self, "path") or not self.there or self.damaged:
            return
        dataset = fl.open_sweep(self.path).load()
        expected = self.expected(dataset)
        done = dataset.status == "ok"
        for name in ("loss", "weight_norms"):
            here, right = dataset[name].where(done), expected[name].where(done)
            assert np.array_equal(here.values, right.values, equal_nan=True)
            assert np.isfinite(dataset[name].where(done, 0.0)).all()

    def expected(self, dataset):
        """Return the same points of the reference."""
        shapes = [spec_index(dataset, index) for index in range(dataset.sizes["architecture"])]
        axes = {name: dataset[name].values for name in ("init_scale", "seed", "lam", "time")}
        same = self.reference.isel(architecture=shapes).sel(axes)
        return same.assign_coords(architecture=dataset.architecture)

    def check_the_end(self):
        if self.there and self.damaged:
            verifying.repair(self.path, self.client)
        self.run()
        self.damaged = set()
        assert tally(Store.open(places.of(self.path))).complete.all()
        assert verifying.verify(self.path) == []
        self.what_is_done_is_right()
        assert not list(self.path.rglob("*.partial"))


def spec_index(dataset, index):
    shape = [int(dataset[name][index]) for name in ("n_i", "n_h", "n_o")]
    return LARGEST["architecture"].index(shape)


def some(draw: random.Random, values, kept=()):
    """Return some of the values, in their order; those that are kept, and one at least."""
    chosen = [value for value in values if value in kept or draw.random() < 0.4]
    return chosen or [draw.choice(values)]


@trials(quick=30, full=1000)
def test_any_history_of_a_store(client, reference, trials):
    Sweep.client, Sweep.reference = client, reference
    run_machine(
        Sweep,
        settings=settings(
            phases=[Phase.generate],
            max_examples=trials,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
