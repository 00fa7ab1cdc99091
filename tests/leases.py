"""Leases and their holders, as tests write them."""

import dataclasses

from fastlin.sweeps.store import lease, lease_holders
from fastlin.sweeps.store.locate import locate
from tests.fault_injection import until

OTHER = "another-host"
# Contents of a lease that name no holder.
GARBAGE = [
    b"",
    b"{",
    b"\xff\x00",
    b"[]",
    b"null",
    b"5",
    b"[" * 100_000,
    b'{"holders": 5}',
    b'{"holders": {"a": 1}}',
    b'{"holders": [null]}',
    b'{"holders": [{}]}',
    b'{"holders": [[1, 2]]}',
]


def holder(**changes):
    """Return a holder in this process."""
    return dataclasses.replace(lease_holders.new_holder("0" * 64), **changes)


def remote_holder(**changes):
    """Return a holder in another system."""
    return holder(**{"host": OTHER, "system": OTHER, "process": 7} | changes)


def write_holders(path, *holders):
    """Write a lease with the given holders, while other processes may write it."""
    place = locate(path)
    place.make()
    content = lease_holders.document(place, list(holders))
    until(lambda: place.swap(lease_holders.KEY, place.read(lease_holders.KEY), content))


def acquired(place, own_holder, note=print):
    """Return the context of a lease. Its notes are printed."""
    return lease.acquired(place, own_holder, note)
