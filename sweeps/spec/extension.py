"""Growth of a sweep: which spec extends which, and in which order the values of an axis are stored.

A store never moves a number. Values that an axis gains are stored behind the old ones, so that a reader who
opened the store before still reads the right numbers. `open_sweep` puts every axis in the order of its spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastlin.parameters import Choice
from fastlin.solvers import SOLVERS
from fastlin.sweeps.spec.entry import Entry, KindSection
from fastlin.sweeps.spec.points import SECTION
from fastlin.sweeps.spec.spec import Spec, differences, essential
from fastlin.sweeps.spec.table import ENTRIES, KIND_SECTIONS

_AXES = tuple(entry for entry in ENTRIES if entry.dimension)
# The attributes of a spec that are axes, and their dimensions in a store. Parameters may be axes, too.
AXES = {entry.field: entry.dimension for entry in _AXES}


def axes_of(spec: Spec) -> dict[str, Any]:
    """Return the values of all axes of a spec, by dimension."""
    return {dimension: getattr(spec, field) for field, dimension in AXES.items()} | spec.optional_axes


def arranged(specs: Sequence[Spec]) -> Spec:
    """Return the last of some specs, each of which extends the one before, with its axes in stored order."""
    first, last = specs[0], specs[-1]
    if first is last:
        return first
    joint = {name: dimension for name, dimension in AXES.items() if dimension not in last.columns}
    fields = {name: _joined([getattr(spec, name) for spec in specs]) for name in joint}
    for section in KIND_SECTIONS.values():
        choices: list[Choice[Any]] = [getattr(spec, section.field) for spec in specs]
        own = [key for key in choices[-1].axes if section.prefix + key not in last.columns]
        joined = {key: _joined([choice.values[key] for choice in choices]) for key in own}
        fields[section.field] = replace(choices[-1], values={**choices[-1].values, **joined})
    return replace(last, **fields)


def _joined(values: list[Any]) -> Any:
    """Return the first values, followed by those that each later part adds."""
    if isinstance(values[0], tuple):
        return tuple(dict.fromkeys(entry for part in values for entry in part))
    joined = values[0]
    for part in values[1:]:
        joined = np.concatenate([joined, part[~np.isin(part, joined)]])
    return joined


def obstacles(old: Spec, new: Spec) -> list[str]:
    """Return one line for each difference that keeps `new` from extending `old`.

    Values that an axis gains are no such difference, and neither are settings of a solver that comes in.
    """
    if old.hash == new.hash:
        return []
    before, after = essential(old.to_dict()), essential(new.to_dict())
    if old.table and new.table:
        if not old.table.grows_to(new.table):
            return [f"points: the table does not begin with the {old.table.num:,} points of the store"]
        del before[SECTION], after[SECTION]
    for entry in _AXES:
        if _extends(entry, old, new):
            before[entry.section].pop(entry.key, None)
            after[entry.section].pop(entry.key, None)
    for section, key in _extended_parameters(old, new):
        before[section.section] = section.without(before[section.section], old, key)
        after[section.section] = section.without(after[section.section], new, key)
    for key in _unused(old):
        after["dynamics"].pop(key, None)
    return differences(before, after)


def _unused(spec: Spec) -> list[str]:
    """Return the settings of dynamics that no solver of a spec has."""
    solvers = [SOLVERS[name] for name in spec.solvers]
    adaptive, stepwise = any(each.adaptive for each in solvers), any(each.learning_rate for each in solvers)
    return ([] if adaptive else ["tolerance", "max_steps"]) + (
        [] if stepwise else ["batch_size", "label_noise"]
    )


def _extends(entry: Entry, old: Spec, new: Spec) -> bool:
    """Tell whether an axis holds all its old values. A single value that is no axis must stay as it is."""
    before, after = getattr(old, entry.field), getattr(new, entry.field)
    if entry.optional:
        is_axis = entry.dimension in old.optional_dims
        if is_axis != (entry.dimension in new.optional_dims):
            return False
        if not is_axis and len(before):
            return bool(np.array_equal(before, after))
    return set(before) <= set(after) if isinstance(before, tuple) else bool(np.isin(before, after).all())


def _extended_parameters(old: Spec, new: Spec) -> Iterator[tuple[KindSection, str]]:
    """Yield the section and the key of each parameter that is an axis and holds all its old values."""
    for section in KIND_SECTIONS.values():
        before, after = getattr(old, section.field).axes, getattr(new, section.field).axes
        for key in before.keys() & after.keys():
            if np.isin(before[key], after[key]).all():
                yield section, key
