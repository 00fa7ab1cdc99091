"""The columns of [points]: their types, their bounds, and the axes of a spec that they replace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SIZE
from fastlin.kinds.parameters import Choice, Parameter
from fastlin.sweeps.spec import axes
from fastlin.sweeps.spec.entry import Entry
from fastlin.sweeps.spec.faults import Faults
from fastlin.sweeps.spec.points import ARCHITECTURE, SECTION, SIZES, Column, PointTable
from fastlin.sweeps.spec.sequence import SEQUENCE
from fastlin.sweeps.spec.table import ENTRIES, KIND_SECTIONS
from fastlin.validation import check_int

Tables = dict[str, dict[str, Any]]

TEXTS = ("solver",)
WHOLE = ("noise_seed", "seed")
BESIDE = ("seed", "time")  # axes that may have several values beside a table
# Columns in the order in which rows are sorted: first those that choose a kernel.
_FIRST = ("solver", "learning_rate", "noise_seed")
_LAST = ("rate_ratio", "kappa", "seed", "init_scale", "lam")
_ENTRIES = {entry.dimension: entry for entry in ENTRIES if entry.dimension}


def column_kinds(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the types of the columns that a spec can have, in order: "integer", "real" or "text"."""
    kinds, parameters = {ARCHITECTURE: "text"} | dict.fromkeys(SIZES, "integer"), _parameters(tables)
    for name in (*_FIRST, *parameters, *_LAST):
        kinds[name] = "text" if name in TEXTS else "integer" if name in WHOLE else "real"
    return kinds | {name: _kind(parameter) for name, parameter in parameters.items()}


def _parameters(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Parameter]:
    """Return the parameters of the kinds of task and start that can be axes, by their dimensions."""
    found: dict[str, Parameter] = {}
    for name, section in KIND_SECTIONS.items():
        kind = section.kinds.get(tables[name].get("kind") or section.default)
        if kind is not None and SEQUENCE not in tables[name]:  # parameters of stages are no columns
            found |= {section.prefix + key: part for key, part in kind.parameters.items() if part.axis}
    return found


def _kind(parameter: Parameter) -> str:
    """Return the type of the values of a parameter."""
    try:
        example = parameter.default if parameter.default is not None else parameter.read("", 4)
    except InputError:  # it takes numbers from 0 to 1, or names
        return "real"
    return "text" if isinstance(example, str) else "integer" if isinstance(example, int) else "real"


def with_sizes(table: PointTable, tables: Tables, faults: Faults) -> PointTable | None:
    """Return a table with all three sizes. Those that it lacks are those of axes.architecture."""
    if all(name in table for name in SIZES):
        return table
    value = tables["axes"].pop(ARCHITECTURE, None)
    if value is None:
        lacking = ", ".join(name for name in SIZES if name not in table)
        faults.add(f"[{SECTION}] lacks {lacking}; give columns, or one architecture in axes.architecture")
        return None
    try:
        shapes = axes.architectures("axes.architecture", value)
    except InputError as error:
        faults.add_error(error)
        return None
    if len(shapes) > 1:
        faults.add(f"axes.architecture has {len(shapes)} values beside [{SECTION}]; give one, or a column")
        return None
    return table.with_sizes(shapes[0])


def replace_axes(table: PointTable, tables: Tables, faults: Faults) -> dict[str, Any]:
    """Take the columns of a table for the axes of a spec. Return the attributes of a spec that they give.

    An axis that a column replaces holds the distinct values of the column. A parameter of a task or a start
    gets them as a list in its section of `tables`.
    """
    _check_bounds(table, faults)
    if faults:
        return {}
    fields: dict[str, Any] = {"architectures": table.architectures}
    for name in (ARCHITECTURE, *(name for name in table.columns if name not in SIZES)):
        section, key = _place(name)
        if tables[section].pop(key, None) is not None:
            column = (
                "the sizes of architectures are columns" if name == ARCHITECTURE else f"{name} is a column"
            )
            faults.add(f"{section}.{key} is given, and {column} of [{SECTION}]; give one of them")
        if name == ARCHITECTURE:
            continue
        values = np.unique(table.columns[name])
        if name in _ENTRIES:
            fields[_ENTRIES[name].field] = tuple(values.tolist()) if name in TEXTS else values
        else:
            tables[section][key] = values.tolist()
    return fields


def _place(name: str) -> tuple[str, str]:
    """Return the section and the key of the axis that a column replaces."""
    if name in _ENTRIES:
        return _ENTRIES[name].section, _ENTRIES[name].key
    prefix = KIND_SECTIONS["init"].prefix
    return ("init", name.removeprefix(prefix)) if name.startswith(prefix) else ("task", name)


def _check_bounds(table: PointTable, faults: Faults) -> None:
    """Note values that an axis does not take."""
    for name, values in table.columns.items():
        try:
            if name in SIZES:
                for row, value in _extremes(values):
                    check_int(f"{SECTION}.{name}[{row}]", value, 1, MAX_SIZE)
            elif name in TEXTS:
                _ENTRIES[name].read(f"{SECTION}.{name}", np.unique(values).tolist())
            elif name in _ENTRIES:
                for row, value in _extremes(values):
                    _ENTRIES[name].read(f"{SECTION}.{name}[{row}]", value)
        except InputError as error:
            faults.add_error(error)


def _extremes(values: Column) -> Iterator[tuple[int, Any]]:
    """Yield rows with the values of a column that are out of bounds if any are: the least and the largest.

    The least above 0 is among them, because kappa is 0 or has a least value.
    """
    rows = [int(np.argmin(values)), int(np.argmax(values))]
    positive = np.flatnonzero(values > 0)
    if positive.size:
        rows.append(int(positive[np.argmin(values[positive])]))
    for row in dict.fromkeys(rows):
        yield row, values[row].item()


def check_beside(table: PointTable, fields: Mapping[str, Any], faults: Faults) -> None:
    """Note axes with several values that are no columns. Only seeds and times have these beside a table."""
    for name, entry in _ENTRIES.items():
        size = len(fields[entry.field]) if entry.field in fields else 1
        if size > 1 and name not in table and name not in (ARCHITECTURE, *BESIDE):
            faults.add(_several(entry, size))
    for section in KIND_SECTIONS.values():
        choice: Choice[Any] | None = fields.get(section.field)
        for key, values in choice.axes.items() if choice else ():
            if section.prefix + key not in table:
                other = "give one" if choice and choice.kind.resolve else "make it a column"
                faults.add(f"{section.section}.{key} has {len(values)} values beside [{SECTION}]; {other}")


def _several(entry: Entry, size: int) -> str:
    return f"{entry.name} has {size} values beside [{SECTION}]; give one, or make it a column"


def check_tasks(table: PointTable, task: Choice[Any], faults: Faults) -> None:
    """Note rows whose task cannot be drawn for their architecture."""
    if not all(key in table for key in task.axes):
        return  # `check_beside` notes it
    parameters = {key: table.columns[key] for key in task.axes}
    for row in table.distinct(table.architecture_codes, list(task.axes)):
        law = task.kind.law(**task.at({key: part[row].item() for key, part in parameters.items()}))
        shape: Architecture = table.architectures[table.architecture_codes[row]]
        if obstacle := task.kind.obstacle(law, shape):
            faults.add(
                f"[{SECTION}], row {row}: the architecture is {shape}; {obstacle}",
                "task",
                SECTION,
                f"[{row}]",
            )
