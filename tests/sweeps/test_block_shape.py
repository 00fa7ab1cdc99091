"""Blocks of several groups: the rule of the block shape. Joining groups changes no number."""

import itertools
import math
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.bench.scale import nothing
from fastlin.kernels.sizes import Sizes, SizesOfMany
from fastlin.sweeps.run import block, worker
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import block_shape, codec
from fastlin.sweeps.store.block_shape import choose_block_shape
from fastlin.sweeps.store.contents import layout_of
from fastlin.sweeps.store.layout import BlockShape
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import verify
from tests import cutting, sweeping
from tests.sweeping import content

AXES = sweeping.spec()["axes"]
DYNAMICS = sweeping.BOTH | {"learning_rate": [0.009, 0.02]}
SPEC = sweeping.spec(dynamics=DYNAMICS)
SIZES = {
    "architectures": {"architectures": 2},
    "init_scales": {"init_scales": 2},
    "solvers": {"solvers": 2},
    "learning rates": {"learning_rates": 2},
    "all": {"architectures": 3, "init_scales": 2, "solvers": 2, "learning_rates": 2, "seeds": 6},
    "more than there are": dict.fromkeys(BlockShape._fields[:5], 9),
}


def grid(sizes=(1, 1, 1), seeds=10, lams=100, times=4, **changes):
    """Return a spec over all architectures up to given sizes."""
    n_i, n_h, n_o = ({"start": 1, "num": size} for size in sizes)
    content = {
        "axes": {
            "architecture": {"n_i": n_i, "n_h": n_h, "n_o": n_o},
            "seed": {"start": 0, "num": seeds},
            "lam": np.linspace(-9, 9, lams),
        },
        "task": {"n_samples": 64},
        "dynamics": {"times": [*np.geomspace(0.1, 90.0, times - 1), np.inf][-times:]},
    }
    return Spec.from_dict(content | changes)


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """A store in which every block holds one group."""
    path = tmp_path_factory.mktemp("apart") / "s.zarr"
    assert fl.run_sweep(SPEC, path).blocks == 3 * 2 * 2 * 2
    return path


@pytest.fixture
def joined(tmp_path, client):
    """A store of the same sweep, in which most blocks hold eight groups, and the last ones two."""
    path = tmp_path / "joined.zarr"
    with cutting.into(architectures=2, init_scales=2, learning_rates=2, seeds=4):
        assert fl.run_sweep(SPEC, path, client).blocks == 2 * 2 * 2
    return path


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_joined_groups_have_the_numbers_of_each_alone(apart, client, tmp_path, sizes):
    path = tmp_path / "s.zarr"
    with cutting.into(**{"seeds": 4} | sizes):
        fl.run_sweep(SPEC, path, client)
    assert fl.open_sweep(path).load().identical(fl.open_sweep(apart).load())
    assert verify(path) == []


def test_each_architecture_of_a_block_has_the_numbers_of_a_sweep_of_its_own(client, tmp_path):
    with cutting.by_the_rule():
        assert fl.run_sweep(SPEC, tmp_path / "all.zarr", client).blocks == 1
    dataset = fl.open_sweep(tmp_path / "all.zarr").load()
    for index, shape in enumerate(AXES["architecture"]):
        path = tmp_path / f"{index}.zarr"
        fl.run_sweep(SPEC | {"axes": AXES | {"architecture": shape}}, path, client)
        alone = fl.open_sweep(path).load()
        for name in alone.data_vars:
            assert np.array_equal(alone[name][0].values, dataset[name][index].values)


def test_one_damaged_chunk_is_one_block_to_compute(joined):
    whole = content(joined)
    file = joined / "loss" / "c.1.0.1.0.0.0.0"
    data = bytearray(file.read_bytes())
    data[7] ^= 4
    file.write_bytes(data)
    (damage,) = verify(joined)
    assert damage.key == "loss/c.1.0.1.0.0.0.0"
    repaired, report = repair(joined)
    assert repaired == [damage]
    assert (report.computed_blocks, report.computed_points) == (1, 1 * 2 * 1 * 2 * 4 * 5)
    assert content(joined) == whole


def test_a_bad_point_is_contained_in_its_group_and_computed_again_alone(apart, client, tmp_path, monkeypatch):
    real, calls, path = block.compute, [], tmp_path / "s.zarr"

    def bad(group):
        spoiled = (str(group.architecture), group.init_scale, group.solver) == ("3-4-3", 1.0, "exact")
        if spoiled and group.learning_rate == 0.02 and 2 in group.seeds and 2.0 in group.lams:
            raise ValueError("no")
        calls.append(group)
        return real(group)

    with cutting.by_the_rule(), monkeypatch.context() as patch:
        patch.setattr(block, "compute", bad)
        assert fl.run_sweep(SPEC, path, client).failed == 1
    computed = [(str(group.architecture), group.init_scale) for group in calls]
    # The run also computes a network of 1-1-1, to distinguish a bad point from a broken installation.
    assert sum(each != ("3-4-3", 1.0) and each[0] != "1-1-1" for each in computed) <= 20
    dataset, undisturbed = fl.open_sweep(path).load(), fl.open_sweep(apart).load()
    failed = dataset.status == "failed"
    assert dataset.status.where(failed, drop=True).size == 1
    assert dataset.status[1, 1, 0, 1, 2, 3] == "failed"
    for name in dataset.data_vars:
        actual, expected = (part[name].drop_vars("status") for part in (dataset, undisturbed))
        assert actual.equals(expected.where(~failed.drop_vars("status")))
    before, calls[:] = values_of(path), []
    monkeypatch.setattr(block, "compute", lambda group: calls.append(group) or real(group))
    report = fl.run_sweep(SPEC, path, client, retry_failed=True)
    assert (report.computed_points, report.computed_blocks, report.failed) == (1, 1, 0)
    assert [group.points for group in calls] == [1]
    after = values_of(path)
    for name, values in before.items():
        good = np.full(values.shape[:6], True)
        good[1, 1, 0, 1, 2, 3] = False
        assert values[good].tobytes() == after[name][good].tobytes(), name
    assert fl.open_sweep(path).load().identical(undisturbed)


def values_of(path):
    """Return the values of the only block of a store, as its files have them."""
    store = Store.open(locate(path))
    index = store.layout.index(0)
    assert store.layout.block_count == 1
    return store.read_values(index)


def test_points_of_a_block_that_are_lost_are_computed_and_no_others(joined, client, monkeypatch):
    """Such points occur in a block that was written when its axes had fewer values."""
    whole, store = content(joined), Store.open(locate(joined))
    index = (0, 0, 0, 0, 0, 0)
    status = store.read_status(index).copy()
    status[1, 0, 0, 1, 2:, 3:] = 0
    key = store.layout.status.key("status", index)
    store.location.write(key, *codec.encode(store.layout.status, status))
    real, seen = block.compute, []
    monkeypatch.setattr(block, "compute", lambda group: seen.append(group) or real(group))
    report = fl.run_sweep(SPEC, joined, client)
    assert (report.computed_points, report.computed_blocks) == (4, 1)
    (group,) = [group for group in seen if group.times.size > 1]
    assert (str(group.architecture), group.seeds.tolist(), group.lams.tolist()) == (
        "3-4-3",
        [2, 3],
        [2.0, 4.0],
    )
    assert content(joined) == whole


def test_the_time_of_a_block_apart_is_shared_by_the_cost_of_its_groups(monkeypatch, tmp_path):
    spec, shares = grid((6, 6, 6), seeds=2, lams=3), []

    class Shared:
        def __init__(self, _seconds):
            pass

        def of(self, group, share):
            shares.append((str(group.architecture), share))
            return nothing

        def close(self):
            pass

    monkeypatch.setattr(worker, "IsolatedProcess", Shared)
    place = locate(tmp_path / "s.zarr")
    layout = layout_of((spec,), cutting.shape_of(spec, architectures=216, seeds=2))
    from fastlin.sweeps.store import store

    store.create(place, layout)
    worker.run_block(worker.BlockRequest(place, 100.0, isolated=True), layout.index(0))
    assert sum(share for _, share in shares) == pytest.approx(1.0)
    by_shape = dict(shares)
    assert len(by_shape) == 216
    assert by_shape["6-6-6"] == max(by_shape.values()) > 1.02 * by_shape["1-1-1"]


sizes_of_axes = st.fixed_dictionaries(
    {
        "sizes": st.tuples(*[st.integers(1, 4)] * 3),
        "init_scales": st.integers(1, 5),
        "rates": st.integers(0, 3),
        "seeds": st.integers(1, 9),
        "lams": st.integers(1, 3),
        "reduce": st.booleans(),
    }
)
limits = st.fixed_dictionaries(
    {
        "BLOCK_BYTES": st.sampled_from([100, 1000, 10_000, 100_000, 10**7]),
        "BLOCK_SECONDS": st.sampled_from([1e-4, 1e-3, 1e-2, 5.0]),
        "LEAST_BLOCKS": st.sampled_from([1, 5, 48]),
        "LEAST_SECONDS": st.sampled_from([1e-5, 1e-3, 0.05]),
    }
)


@given(sizes_of_axes, limits)
def test_block_shapes_cover_all_points_within_the_limits(axes, constants):
    dynamics = {"times": [0.0, 1.0, 5.0]}
    if axes["rates"]:
        rates = [0.01, 0.02, 0.04][: axes["rates"]]
        dynamics |= {"solver": ["exact", "gradient_descent"], "learning_rate": rates}
    spec = grid(axes["sizes"], axes["seeds"], axes["lams"], dynamics=dynamics).to_dict()
    spec["axes"]["init_scale"] = np.linspace(0.5, 1.5, axes["init_scales"])
    if axes["reduce"]:
        spec["output"]["reduce"] = {"statistics": ["mean"], "histogram": [0.0, 0.5, 1.0]}
    spec = Spec.from_dict(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in constants.items():
            patch.setattr(block_shape, name, value)
        made = Plan.of(spec)
        check_cover(spec, made.layout)
        check_limits(spec, made, constants)
        assert choose_block_shape(spec) == choose_block_shape(Spec.from_dict(spec.to_dict()))


def check_cover(spec, layout):
    """Check that every point is in exactly one block, at its position."""
    seen = set()
    for number in range(layout.block_count):
        index = layout.index(number)
        assert layout.number(index) == number
        for place, group in layout.block(index):
            assert layout.group(index, place).architecture == group.architecture
            key = (group.architecture, group.init_scale, group.solver)
            rate = (group.learning_rate,) if "learning_rate" in spec.point_dims else ()
            points = [(*key, *rate, *point) for point in itertools.product(group.seeds, group.lams)]
            assert not seen.intersection(points)
            seen.update(points)
    assert len(seen) == spec.points


def check_limits(spec, made, constants):
    """Check the bytes and seconds of blocks, and that there are neither too few nor too small blocks."""
    layout = made.layout
    groups = math.prod(layout.status.chunk[:-2])
    block_bytes = sum(
        math.prod(array.chunk) * np.dtype(array.dtype).itemsize for array in layout.values.values()
    )
    if groups > 1:
        assert layout.block_shape.seeds == spec.seeds.size
        assert block_bytes <= constants["BLOCK_BYTES"]
        assert made.block_seconds <= constants["BLOCK_SECONDS"] * (1 + 1e-9)
    elif layout.block_shape.seeds > 1 and not spec.reduce:
        assert block_bytes <= constants["BLOCK_BYTES"]
    everything = spec.points // (spec.seeds.size * spec.lams.size)
    wanted = constants["LEAST_BLOCKS"]
    least = min(wanted, 3 * wanted // len(layout.arrays), everything)
    mean = made.seconds_of_blocks.mean()
    assert layout.block_count >= least or mean <= 2 * constants["LEAST_SECONDS"]


@pytest.mark.parametrize(
    ("points", "output"),
    [
        ((10, 100), {}),
        ((1000, 1), {}),
        ((1, 1000), {}),
        ((100, 10), {"reduce": {}}),
        ((100, 10), {"reduce": {"histogram": [0.0, 0.5, 1.0]}}),
        ((10, 100), {"observables": ["loss", "kernel_distance", "weight_norms", "convergence_time"]}),
    ],
)
@pytest.mark.parametrize("sizes", [(10, 10, 10), (1000, 1, 1)])
def test_a_thousand_architectures_take_at_most_200_files(points, output, sizes):
    """The files include coordinates and metadata. The larger architectures have 10 to 20 units a layer."""
    seeds, lams = points
    content = grid(sizes, seeds, lams, task={"n_samples": 1000}).to_dict()
    if sizes[0] == 1000:
        shapes = [[10 + n % 10, 10 + n // 10 % 10, 10 + n // 100] for n in range(1000)]
        content["axes"]["architecture"] = shapes
    content["output"] = {"observables": ["loss", "kernel_distance"]} | output
    spec = Spec.from_dict(content)
    assert (len(spec.architectures), spec.points) == (1000, 10**6)
    with cutting.by_the_rule():
        made = Plan.of(spec)
    assert made.files <= 200, (made.layout.block_shape, made.files)


def test_files_on_disk_are_those_of_the_plan(tmp_path, client, monkeypatch):
    monkeypatch.setattr(block, "compute", nothing)
    spec = grid((3, 2, 3), seeds=5, lams=8)
    with cutting.by_the_rule():
        made = Plan.of(spec)
        fl.run_sweep(spec, tmp_path / "s.zarr", client)
    assert made.layout.block_shape.architectures == 18
    assert len(sweeping.chunks(tmp_path / "s.zarr")) == 3
    assert len(content(tmp_path / "s.zarr")) == made.files < 30


def test_large_sweeps_keep_their_blocks():
    with cutting.by_the_rule():
        shapes = {name: Plan.of(Spec.load(name)).layout.block_shape for name in ("phase-10m", "phase-1g")}
    assert shapes == {
        "phase-10m": BlockShape(seeds=2777, lams=180, times=2),
        "phase-1g": BlockShape(seeds=122_079, lams=180, times=2),
    }


def test_costly_architectures_are_not_joined_with_others():
    slow = {"solver": "gradient_descent", "learning_rate": 1e-3, "times": [0.0, 90.0]}
    with cutting.by_the_rule():
        made = Plan.of(grid((20, 20, 1), 10, 10, dynamics=slow))
    assert made.block_seconds <= 5.0
    assert 1 <= made.layout.block_shape.architectures < 400 / 48 + 1


@given(st.tuples(*[st.integers(1, 200)] * 3))
def test_sizes_of_many_are_the_sizes_of_each(triple):
    one = Sizes(*triple)
    many = SizesOfMany(np.array([(1, 1, 1), triple, (5, 4, 3)]))
    names = {name for name, value in vars(Sizes).items() if isinstance(value, cached_property)}
    assert {"m", "width", "fits_lanes", "fits_setup", "unrolled"} < names
    # These depend on a condition, and estimates do not use them.
    for name in names - {"outside_shift", "drops_outside", "keeps_outside"}:
        assert np.broadcast_to(getattr(many, name), 3)[1] == getattr(one, name), name
