"""Compatibility of a store with the versions of this installation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels import Status
from fastlin.sweeps.run.evaluators import evaluator_of
from fastlin.sweeps.spec.group import Position
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import versions
from fastlin.sweeps.store.resume import is_missing
from fastlin.sweeps.store.store import Store

HARMLESS = ("python", "zarr")  # numbers do not depend on their versions
HARDWARE = frozenset({"blas", "machine", "processor"})
SAMPLES = 20  # number of groups that are computed again to compare, spread over the blocks


def differences(store: Store) -> list[str]:
    """Return the names of the versions that numbers depend on and that are others than the store's."""
    old, new = store.made_with[-1], versions.of(store.layout.spec)
    return [name for name in sorted({*old, *new} - set(HARMLESS)) if old.get(name) != new.get(name)]


def check(store: Store, allow: bool) -> list[dict[str, str]]:
    """Return the versions that a store is made with from now on.

    Raises
    ------
    InputError
        If other versions wrote it, because they may have computed other numbers. With `allow` it is only
        raised if a sample of its points differs in any bit.
    """
    names = differences(store)
    if not names:
        return store.made_with
    old, new = store.made_with[-1], versions.of(store.layout.spec)
    lines = [
        f"  {name}: the store has {old.get(name, 'none')}, this installation {new.get(name, 'none')}"
        for name in names
    ]
    how = "with another processor or BLAS" if HARDWARE.issuperset(names) else "by other versions"
    fault = f"the store {store.location.text} was written {how}"
    if not allow:
        raise InputError(
            "\n".join([f"{fault}; --allow-version goes on if its numbers come out the same:", *lines])
        )
    if old.get("seed_rule") != new["seed_rule"]:
        raise InputError(
            "\n".join(
                [
                    f"{fault}, with another seed rule: the same seed would draw another network. "
                    "Install the versions of the store, or choose another --store:",
                    *lines,
                ]
            )
        )
    _compare(store, fault, lines)
    return [*store.made_with, new]


def joint_versions(stores: Sequence[Store], spec: Spec, allow: bool) -> list[dict[str, str]]:
    """Return the versions that made the numbers of some stores, which are merged to a spec, oldest first.

    Raises
    ------
    InputError
        If other versions wrote one store than the first. With `allow` it is only raised if they have another
        seed rule, or a sample of the points of a store does not come out the same here.
    """
    first, joint, differ = stores[0], stores[0].made_with[-1], False
    for store in stores[1:]:
        new = store.made_with[-1]
        names = [
            name for name in sorted(joint.keys() & new.keys() - set(HARMLESS)) if joint[name] != new[name]
        ]
        if names and not allow:
            fault = f"other versions wrote {store.location.text} than {first.location.text}"
            how = "--allow-version merges them if samples of all come out the same here"
            lines = [f"  {name}: {new[name]} instead of {joint[name]}" for name in names]
            raise InputError("\n".join([f"{fault}; {how}:", *lines]))
        differ |= bool(names)
        joint = new | joint  # a sweep that gains large architectures depends on the processor from here on
    if not differ:
        return _distinct([*(entry for store in stores for entry in store.made_with[:-1]), joint])
    here = versions.of(spec)
    checked = [entry for store in stores for entry in check(store, allow)]
    return [*(entry for entry in _distinct(checked) if entry != here), here]


def _distinct(entries: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return each entry once, in the place of its first occurrence."""
    return [entry for at, entry in enumerate(entries) if entry not in entries[:at]]


def _compare(store: Store, fault: str, lines: list[str]) -> None:
    """Compute samples of complete groups again, and raise if a bit differs."""
    evaluator, count = evaluator_of(store.layout.spec), 0
    blocks = store.layout.block_count
    of_each = math.ceil(SAMPLES / min(SAMPLES, blocks))
    for number in np.unique(np.linspace(0, blocks - 1, 50 * SAMPLES).astype(int)):
        index = store.layout.index(int(number))
        complete = _complete_groups(store, index)
        if not complete:
            continue
        chosen = np.unique(np.linspace(0, len(complete) - 1, of_each).astype(int))
        values = store.read_values(index)
        for position in [complete[at] for at in chosen]:
            if count == SAMPLES:
                return
            count += 1
            stored = {name: part[position] for name, part in values.items()}
            if not evaluator.reproduces(store, index, position, stored):
                message = f"{fault}, which computed other numbers in block {number}; choose another --store:"
                raise InputError("\n".join([message, *lines]))


def _complete_groups(store: Store, index: tuple[int, ...]) -> list[Position]:
    """Return the positions of the groups of a block that have a value at every point."""
    status = store.read_status(index)
    lacks = is_missing(status) | (status == Status.FAILED)
    return [position for position, _ in store.layout.block(index) if not lacks[position].any()]
