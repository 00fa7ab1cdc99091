"""Growth of a sweep: which spec extends which, the union of two, and the order in which values are stored.

A store never moves a number. Values that an axis gains are stored behind the old ones, so that a reader who
opened the store before still reads the right numbers. `open_sweep` puts every axis in the order of its spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastlin.kinds.own_data import OwnItems, changes, clashes
from fastlin.kinds.parameters import Choice
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
    lines = []
    for name, own, others in _own_data(old, new):
        del before[name]["data"], after[name]["data"]
        lines += changes(name, own, others)
    return lines + differences(before, after)


def union(first: Spec, second: Spec) -> Spec:
    """Return the spec with the values of both on every axis but time, or with the rows of both.

    All else is of the first. Settings of a solver that the first spec does not have are those of the second.
    """
    fields = {name: _united(getattr(first, name), getattr(second, name)) for name in AXES if name != "times"}
    fields |= {key: getattr(second, key) for key in _unused(first)}
    for section in KIND_SECTIONS.values():
        choice, other = getattr(first, section.field), getattr(second, section.field)
        joined = {key: _united(values, other.values[key]) for key, values in choice.axes.items()}
        own, others = section.own(first), section.own(second)
        if own is not None and others is not None:
            data = own.united(others)
            joined = {**dict.fromkeys(joined, data.names), "data": data}
        fields[section.field] = replace(choice, values={**choice.values, **joined})
    content = replace(first, **fields).to_dict()
    if first.table and second.table:
        content[SECTION] = first.table.united(second.table)
    return Spec.from_dict(content)


def _united(first: Any, second: Any) -> Any:
    """Return the values of both: sorted numbers, or names in the order of the first."""
    if isinstance(first, tuple):
        return tuple(dict.fromkeys((*first, *second)))
    return np.union1d(first, second)


def obstacles_to_union(first: Spec, second: Spec, names: tuple[str, str]) -> list[str]:
    """Return one line for each difference that keeps two specs from being parts of one sweep.

    They may differ in the values of axes, or in the rows of a table and the seeds. Every point has values at
    all times, so the times must be the same. `names` are the names of the specs in the lines.
    """
    before, after = essential(first.to_dict()), essential(second.to_dict())
    if first.table and second.table and list(first.table.columns) == list(second.table.columns):
        del before[SECTION], after[SECTION]
    for entry in _AXES:
        if entry.field != "times" and _is_joinable(entry, first, second):
            before[entry.section].pop(entry.key, None)
            after[entry.section].pop(entry.key, None)
    for section in KIND_SECTIONS.values():
        for key in getattr(first, section.field).axes.keys() & getattr(second, section.field).axes.keys():
            before[section.section] = section.without(before[section.section], first, key)
            after[section.section] = section.without(after[section.section], second, key)
    for key in {*_unused(first), *_unused(second)}:
        before["dynamics"].pop(key, None)
        after["dynamics"].pop(key, None)
    lines = []
    for name, own, others in _own_data(first, second):
        del before[name]["data"], after[name]["data"]
        lines += clashes(name, own, others, names)
    return lines + differences(before, after, names)


def _own_data(first: Spec, second: Spec) -> Iterator[tuple[str, OwnItems[Any], OwnItems[Any]]]:
    """Yield the name of each section in which both specs have data of the user, and these data."""
    for section in KIND_SECTIONS.values():
        own, others = section.own(first), section.own(second)
        if own is not None and others is not None:
            yield section.section, own, others


def _is_joinable(entry: Entry, first: Spec, second: Spec) -> bool:
    """Tell whether the values of two specs can lie on one axis. A single value that is no axis must agree.

    The axes beside a table have one value for all of its rows, except the seeds.
    """
    if first.table or second.table:
        return entry.dimension == "seed"
    is_axis = entry.dimension in first.optional_dims
    if is_axis != (entry.dimension in second.optional_dims):
        return False
    values, others = getattr(first, entry.field), getattr(second, entry.field)
    fixed = entry.optional and not is_axis and len(values) and len(others)
    return bool(np.array_equal(values, others)) if fixed else True


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
        if section.own(old) is not None:
            continue
        before, after = getattr(old, section.field).axes, getattr(new, section.field).axes
        for key in before.keys() & after.keys():
            if np.isin(before[key], after[key]).all():
                yield section, key
