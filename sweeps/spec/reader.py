"""Reading a spec: its content, as TOML has it, to the attributes of a `Spec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastlin.errors import InputError
from fastlin.kernels.draws import TaskLaw
from fastlin.sweeps.spec import checks, columns
from fastlin.sweeps.spec.entry import read_table
from fastlin.sweeps.spec.faults import Faults
from fastlin.sweeps.spec.points import SECTION, PointTable, plain, read_points
from fastlin.sweeps.spec.table import ENTRIES, KIND_SECTIONS, OF_FRACTION, SECTIONS, entries_of
from fastlin.validation import shown


def read_spec(content: Any, folder: Path) -> dict[str, Any]:
    """Return the attributes of a spec. `folder` is that of its file, to which paths in it are relative.

    Raises
    ------
    InputError
        With one line for each kind of fault.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"a spec is {shown(content)}; needed is a mapping, a TOML file or a preset")
    points, content = content.get(SECTION), plain({k: v for k, v in content.items() if k != SECTION})
    faults = Faults()
    fields = read_table(entries_of(""), content, faults, SECTIONS)
    tables = {section: _table(section, content, faults) for section in SECTIONS}
    points = read_points(points, columns.column_kinds(tables), folder, faults)
    points = points and columns.with_sizes(points, tables, faults)
    given = columns.replace_axes(points, tables, faults) if points else {}
    faults.check()  # without their columns, axes would count as missing
    for section, table in tables.items():
        if section in KIND_SECTIONS:
            fields |= KIND_SECTIONS[section].read(table, faults, folder)
        else:
            entries = [entry for entry in entries_of(section) if entry.field not in given]
            fields |= read_table(entries, table, faults)
    fields |= given | {"table": points}
    fields["optional_dims"] = _optional_dims(tables, fields)
    laws = checks.task_laws(fields, faults)
    columns_given = dict.fromkeys(points.columns if points else (), True)
    checks.settle_solver(fields, tables["dynamics"] | columns_given, laws)
    checks.settle_learning_rates(fields, faults)
    checks.settle_adapter(fields, tables["init"], faults)
    checks.settle_lam(fields, tables["axes"] | columns_given, faults)
    expected = {entry.field for entry in ENTRIES} | {section.field for section in KIND_SECTIONS.values()}
    if expected <= fields.keys() and laws:
        _check_together(tables, fields, laws, faults)
    faults.check()
    return fields


def _optional_dims(tables: Mapping[str, Mapping[str, Any]], fields: Mapping[str, Any]) -> frozenset[str]:
    """Return the dimensions that a store has because their values are a list or a range."""
    dims = [
        entry.dimension
        for entry in ENTRIES
        if entry.optional
        and (
            isinstance(tables[entry.section].get(entry.key), list | dict)
            or (fields["table"] and entry.dimension in fields["table"])
        )
    ]
    for section in KIND_SECTIONS.values():
        choice = fields.get(section.field)
        dims += [section.prefix + key for key in choice.axes] if choice else []
    return frozenset(dims)


def _table(section: str, content: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    table = content.get(section, {})
    if isinstance(table, Mapping):
        return dict(table)
    faults.add(f"{section} is {shown(table)}; a table [{section}] is needed")
    return {}


def _check_together(
    tables: Mapping[str, Any], fields: Mapping[str, Any], laws: Sequence[TaskLaw], faults: Faults
) -> None:
    """Note faults between entries that are right by themselves."""
    if "fraction" in tables["output"] and OF_FRACTION.isdisjoint(fields["observables"]):
        needing = " and ".join(sorted(OF_FRACTION))
        faults.add(f"output.fraction is for {needing}, and output.observables has none of them")
    checks.check_sequence(fields, faults)
    table: PointTable | None = fields["table"]
    if table is None:
        checks.check_task(fields["task"].kind, laws, fields["architectures"], faults)
        checks.check_kappa(fields["kappas"], fields["architectures"], faults)
    else:
        columns.check_beside(table, fields, faults)
        if fields["reduce"] and "seed" in table:
            faults.add(
                "output.reduce is over axes.seed, and seed is a column of [points]; leave one of them out"
            )
        columns.check_tasks(table, fields["task"], faults)
    checks.check_inputs(fields["solvers"], laws, faults)
    checks.check_start(fields, laws, faults)
    checks.check_observables(fields, faults)
    checks.check_settings(fields, tables, laws, faults)
    checks.check_decay(fields, faults)
    checks.check_time_scales(fields, laws, faults)
    if checks.check_finite(fields["solvers"], fields["times"], faults):
        checks.check_steps(fields["times"], fields["learning_rates"], faults)
