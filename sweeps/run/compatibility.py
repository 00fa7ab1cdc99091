"""Compatibility of a store with the versions of this installation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels import Status
from fastlin.sweeps.run.block import compute
from fastlin.sweeps.run.reduce import evaluated, fold_group, folded
from fastlin.sweeps.store import versions
from fastlin.sweeps.store.partials import blocks_in
from fastlin.sweeps.store.resume import Codes, is_missing
from fastlin.sweeps.store.store import Store, Values

HARMLESS = ("python", "zarr")  # numbers do not depend on their versions
HARDWARE = frozenset({"blas", "machine", "processor"})
SAMPLES = 20  # number of groups that are computed again to compare, spread over the blocks
SAMPLE_SEEDS = 2  # number of seeds of each


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
    what = f"the store {store.location.text} was written {how}"
    if not allow:
        raise InputError(
            "\n".join([f"{what}; --allow-version goes on if its numbers come out the same:", *lines])
        )
    if old.get("seed_rule") != new["seed_rule"]:
        raise InputError(
            "\n".join(
                [
                    f"{what}, with another seed rule: the same seed would draw another network. "
                    "Install the versions of the store, or choose another --store:",
                    *lines,
                ]
            )
        )
    _compare(store, what, lines)
    return [*store.made_with, new]


def _compare(store: Store, what: str, lines: list[str]) -> None:
    """Compute samples of complete groups again, and raise if a bit differs."""
    count = 0
    blocks = store.layout.block_count
    of_each = math.ceil(SAMPLES / min(SAMPLES, blocks))
    for number in np.unique(np.linspace(0, blocks - 1, 50 * SAMPLES).astype(int)):
        index = store.layout.index(int(number))
        complete = _complete_groups(store.read_status(index))
        if not complete:
            continue
        chosen = np.unique(np.linspace(0, len(complete) - 1, of_each).astype(int))
        values = store.read_values(index)
        for place in [complete[at] for at in chosen]:
            if count == SAMPLES:
                return
            count += 1
            if not _same(store, index, place, {name: part[place] for name, part in values.items()}):
                message = f"{what}, which computed other numbers in block {number}; choose another --store:"
                raise InputError("\n".join([message, *lines]))


def _complete_groups(status: Codes) -> list[tuple[int, ...]]:
    """Return the places of the groups of a block that have a value at every point."""
    lacks = (is_missing(status) | (status == Status.FAILED)).any(axis=(-2, -1))
    return [tuple(place) for place in np.argwhere(~lacks).tolist()]


def _same(store: Store, index: tuple[int, ...], place: tuple[int, ...], there: Values) -> bool:
    """Tell whether a group of a block comes out as the store has it."""
    group, reduce = store.layout.group(index, place), store.layout.spec.reduce
    if reduce is None:
        part = compute(replace(group, seeds=group.seeds[:SAMPLE_SEEDS])).values
        seen = {name: values[:SAMPLE_SEEDS] for name, values in there.items()}
        return all(np.array_equal(part[name], seen[name], equal_nan=True) for name in part)
    if any((blocks_in(part) != 1).any() for part in there.values()):  # merged with other blocks, or dropped
        return _same_statistics(store, index, place)
    values = fold_group(group, np.full((1, group.lams.size), True), compute, reduce).result.values
    return all(np.array_equal(values[name], there[name]) for name in values)


def _same_statistics(store: Store, index: tuple[int, ...], place: tuple[int, ...]) -> bool:
    """Tell whether the statistics of a group over all seeds come out the same.

    So many lam are tried that it takes no longer than a block.
    """
    layout, reduce = store.layout, store.layout.spec.reduce
    assert reduce is not None
    cell = (*index[:-2], index[-1])
    blocks = layout.seed_blocks(cell)
    if not all(store.is_complete(block) for block in blocks):
        return True
    groups = [layout.group(block, place) for block in blocks]
    seeds = np.concatenate([group.seeds for group in groups])
    lams = groups[0].lams[: max(1, groups[0].lams.size // len(blocks))]
    cells, *_ = folded(replace(groups[0], seeds=seeds, lams=lams), reduce, compute)
    found, there = evaluated(layout.spec, cells), store.read_statistics(cell)
    return all(
        np.array_equal(part, there[name][place][: lams.size], equal_nan=part.dtype.kind == "f")
        for name, part in found.items()
    )
