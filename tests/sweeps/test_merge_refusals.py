"""Stores that are not merged: two values of one point, other sweeps, damage, other versions."""

from functools import partial

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.store import lease, lease_holders, metadata, versions
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store
from tests.merging import MANY, REDUCE, SHAPES, TIMES, run_into, spec
from tests.sweeping import chunks, content


@pytest.fixture
def run(client, tmp_path, monkeypatch):
    """Return a function that runs a spec into a store of a name and returns the name."""
    monkeypatch.chdir(tmp_path)
    return partial(run_into, client)


def changed(path, name, number=0):
    """Give the first point of a block of a store other values, with a right checksum."""
    store = Store.open(locate(path))
    index = store.layout.index(number)
    values = {key: np.array(part) for key, part in store.read_values(index).items()}
    values[name].reshape(-1)[: len(TIMES)] += 1.0
    store.write_block(index, values, store.read_status(index))


def test_two_values_of_one_point_are_refused_and_equal_ones_are_not(run):
    wanted = spec()
    run("a", wanted, slice="1/2")
    run("b", spec(seed=[0, 1, 2, 8]))
    run("same", wanted)
    fl.merge_sweeps(["a", "same"], "merged")
    changed("b", "loss")
    before = [content(name) for name in ("a", "b", "merged")]
    for stores, into in ((["a", "b"], None), (["b", "same"], "new"), (["same", "b"], "merged")):
        with pytest.raises(fl.InputError) as error:
            fl.merge_sweeps(stores, into)
        assert "have different values at architecture=4-2-2, seed=0, lam=-1.0, init_scale=1.0;" in str(
            error.value
        )
    assert [content(name) for name in ("a", "b", "merged")] == before


def test_two_statistics_of_one_point_are_refused(run):
    for name in ("a", "b"):
        run(name, spec(REDUCE))
    store = Store.open(locate("b"))
    cell = next(iter(store.layout.cells))
    values = {name: np.array(part) for name, part in store.read_statistics(cell).items()}
    values["loss"] += 1.0
    store.write_statistics(cell, values)
    with pytest.raises(
        fl.InputError, match="a and b have different values at architecture=4-2-2, seed=0, lam"
    ):
        fl.merge_sweeps(["a", "b"], "merged")


@pytest.mark.parametrize("array", ["loss", "status"])
@pytest.mark.parametrize("output", [None, REDUCE])
def test_a_flipped_bit_in_a_source_is_refused_before_anything_is_written(run, output, array):
    wanted = spec(output, seed=MANY)
    run("a", wanted, slice="1/2")
    run("b", wanted)
    name = "partials" if output and array == "loss" else array
    file = next(iter(sorted(locate("b").folder.glob(f"{name}/c.*"))))
    flipped = bytearray(file.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    file.write_bytes(flipped)
    before = content("a")
    with pytest.raises(
        fl.InputError, match=rf"b: {name}/c\.\S* does not fit its checksum; fastlin repair b mends"
    ):
        fl.merge_sweeps(["a", "b"])
    with pytest.raises(fl.InputError, match="does not fit its checksum"):
        fl.merge_sweeps(["a", "b"], "new")
    assert content("a") == before
    assert not locate("new").exists()


def test_specs_that_are_no_parts_of_one_product_are_refused_with_a_line_each(run):
    run("a", spec())
    run("b", spec(times=[0.0, 0.7]) | {"task": {"n_samples": 9, "target_scale": 1.5}})
    with pytest.raises(fl.InputError) as error:
        fl.merge_sweeps(["a", "b"])
    first, *lines = str(error.value).splitlines()
    assert first.startswith("a and b are not parts of one sweep.")
    assert lines == [
        '  dynamics.times: a has [0.0, 0.9, "inf"], b [0.0, 0.7]',
        "  task.n_samples: a has 8, b 9",
    ]
    run("c", spec(kappa=0.5, architecture="1-3-2"))
    run("d", spec(kappa=[0.0, 0.5]))
    with pytest.raises(fl.InputError, match=r"axes\.kappa: a has nothing, c 0.5"):
        fl.merge_sweeps(["a", "c"])
    with pytest.raises(fl.InputError, match=r"axes.kappa: a has nothing, d \[0.0, 0.5\]"):
        fl.merge_sweeps(["a", "d"])
    run("e", spec(REDUCE))
    with pytest.raises(fl.InputError, match=r"output\.reduce: a has nothing"):
        fl.merge_sweeps(["a", "e"])


@pytest.mark.parametrize(
    ("stores", "into", "message"),
    [
        ([], None, r"stores is \[\]; needed is a list of paths of stores"),
        ("a", None, "stores is 'a'; needed is a list"),
        (["a"], None, "there is one store, a; needed are two or more"),
        (["a"], "./a", "there is one store, ./a; needed are two or more"),
        (["a", "none"], None, "there is no store at none"),
        (["a", "b", "./b"], None, "./b is named twice"),
        (["a", "b"], "folder", "folder is not a Zarr store"),
        (["a", 3], None, "the store is 3; needed is the path of a folder"),
    ],
)
def test_odd_stores_are_refused(run, tmp_path, stores, into, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    for name in ("a", "b"):
        run(name, spec(architecture=SHAPES[0], seed=0))
    with pytest.raises(fl.InputError, match=message):
        fl.merge_sweeps(stores, into)


def test_a_store_that_is_being_written_is_refused(run):
    for name in ("a", "b"):
        run(name, spec(), slice=f"{1 + (name == 'b')}/2")
    holder = lease_holders.new_holder("hash")
    with lease.acquired(locate("b", writer=holder.id), holder, print):
        for stores in (["a", "b"], ["b", "a"]):
            with pytest.raises(fl.StoppedError, match="b is being written by process"):
                fl.merge_sweeps(stores)


# ---- versions


def written_by(path, **changes):
    """Give a store the versions of this installation with some changes."""
    store = Store.open(locate(path))
    metadata.write_metadata(
        store.location, metadata.encode_metadata(store.layout, [store.made_with[-1] | changes])
    )


def test_stores_of_one_older_version_are_merged_and_keep_it(run):
    for part in (1, 2):
        written_by(run(f"slice-{part}", spec(), slice=f"{part}/2"), numpy="1.0.0", python="3.1")
    assert fl.merge_sweeps(["slice-1", "slice-2"], "merged").pending == 0
    assert Store.open(locate("merged")).made_with[-1]["numpy"] == "1.0.0"


def test_stores_of_different_versions_are_merged_if_samples_come_out_the_same(run):
    wanted = spec()
    whole = chunks(run("whole", wanted))
    for part in (1, 2):
        run(f"slice-{part}", wanted, slice=f"{part}/2")
    written_by("slice-2", numpy="1.0.0", python="3.1")
    with pytest.raises(fl.InputError) as error:
        fl.merge_sweeps(["slice-1", "slice-2"])
    first, *lines = str(error.value).splitlines()
    assert first.startswith("other versions wrote slice-2 than slice-1; --allow-version merges them if")
    assert lines == [f"  numpy: 1.0.0 instead of {versions.installed()['numpy']}"]
    for _ in range(2):
        assert fl.merge_sweeps(["slice-1", "slice-2"], "merged", allow_version=True).pending == 0
        made_with = Store.open(locate("merged")).made_with
        assert [entry["numpy"] for entry in made_with] == ["1.0.0", versions.installed()["numpy"]]
    assert chunks("merged") == whole
    changed("slice-2", "loss", number=1)
    with pytest.raises(fl.InputError, match="computed other numbers"):
        fl.merge_sweeps(["slice-1", "slice-2"], allow_version=True)
