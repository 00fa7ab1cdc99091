"""The holders in a lease: when they have ended, and which content of a lease names none."""

import dataclasses
import json
import shutil

import pytest

from fastlin.sweeps.store import lease_holders
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import SCRATCH
from tests import commands
from tests.leases import GARBAGE, OTHER, acquired, holder, remote_holder, write_holders

# Changes of an entry after which it is no holder.
NO_HOLDERS = [
    {"process": "x"},
    {"process": None},
    {"process": -5},
    {"process": 10**30},
    {"since": 1e300},
    {"seen": "now"},
    {"seen": float("nan")},
    {"heartbeats": 0.5},
    {"started": []},
    {"part": 3},
    {"unknown": 1},
]


def test_a_holder_on_this_host_ends_with_its_process():
    own_holder = holder()
    assert own_holder.ended is False
    assert dataclasses.replace(own_holder, seen=0.0).ended is False
    reused = dataclasses.replace(own_holder, started=own_holder.started - 60)  # another process has its id
    assert reused.ended is True
    assert holder(process=commands.NO_PROCESS).ended is True
    assert remote_holder(process=commands.NO_PROCESS).ended is None


def test_a_copy_of_a_store_that_is_written_has_no_lease(tmp_path):
    path, copy = tmp_path / "s.zarr", tmp_path / "copy.zarr"
    place, own_holder = locate(path), holder()
    partial_key = f"{SCRATCH}/{own_holder.id}.1.partial"
    with acquired(place, own_holder):
        place.write(partial_key, b"half")
        shutil.copytree(path, copy)
        assert lease_holders.holders(locate(copy)) == []
        with acquired(locate(copy), other := holder()):
            assert lease_holders.holders(locate(copy)) == [other]
            assert locate(copy).read(partial_key) is None
        assert lease_holders.holders(place) == [own_holder]
        assert place.read(partial_key) == b"half"


def test_a_store_has_one_lease_under_all_its_paths(tmp_path):
    path, link, moved = (tmp_path / name for name in ("s.zarr", "link.zarr", "moved.zarr"))
    write_holders(path, own_holder := holder())
    link.symlink_to(path)
    assert lease_holders.holders(locate(link)) == [own_holder]
    link.unlink()
    path.rename(moved)
    assert lease_holders.holders(locate(moved)) == [own_holder]


@pytest.mark.parametrize("damage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_damaged_lease_has_no_holder(tmp_path, damage):
    place = locate(tmp_path / "s.zarr")
    place.write(lease_holders.KEY, damage)
    is_nobodys(place)


@pytest.mark.parametrize("changes", NO_HOLDERS, ids=range(len(NO_HOLDERS)))
@pytest.mark.parametrize("system", [OTHER, None])
def test_a_lease_with_a_damaged_holder_has_no_holder(tmp_path, system, changes):
    place = locate(tmp_path / "s.zarr")
    write_holders(tmp_path / "s.zarr", holder())
    content = json.loads(place.read(lease_holders.KEY))
    (entry,) = content["holders"]
    content["holders"] = [entry | ({"system": system} if system else {}) | changes]
    place.write(lease_holders.KEY, json.dumps(content).encode())
    is_nobodys(place)


def is_nobodys(place):
    own_holder = holder()
    assert lease_holders.holders(place) == []
    with acquired(place, own_holder):
        assert lease_holders.holders(place) == [own_holder]
    assert lease_holders.holders(place) == []
