"""The section [task] of a spec, which has one task, or several in a row: ``[[task.sequence]]``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from fastlin.errors import InputError
from fastlin.kinds.own_data import OwnItems
from fastlin.kinds.parameters import Choice, Parameter
from fastlin.kinds.sequence_law import MOST_STAGES, REVERSED, SIMILAR, SequenceLaw, StageLaw, check_stages
from fastlin.kinds.task_kinds import TASK_KINDS, TaskKind
from fastlin.sweeps.spec import axes
from fastlin.sweeps.spec.entry import Entry, KindSection, name_entry, parameter_entry, read_table
from fastlin.sweeps.spec.faults import Faults
from fastlin.tasks.related import check_similarity
from fastlin.validation import check_times, shown

SEQUENCE: Final = "sequence"


def _duration(name: str, value: Any) -> float:
    if value == "inf":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InputError(f"{name} is {shown(value)}; needed is a number above 0, or inf")
    return float(check_times(value)[0])


DURATION = Parameter(_duration, "how long the task is learned, t / tau > 0", form="number above 0, or `inf`")
SIMILARITY = Parameter(check_similarity, "cosine of the angle between the target and that of the first stage")
# Parameters of the kinds of stages that are made of another stage.
RELATED: dict[str, dict[str, Parameter]] = {REVERSED: {}, SIMILAR: {"similarity": SIMILARITY}}


RELATED_DOCS = {
    REVERSED: "The targets of the stage before times -1 (`reversed`).",
    SIMILAR: "Targets at a random angle of given cosine to those of the first stage (`similar`).",
}


def stage_kinds() -> tuple[str, ...]:
    """Return the names of the kinds that a stage may have."""
    return (*TASK_KINDS, *RELATED)


@dataclass(frozen=True)
class StageTable:
    """One stage as a spec has it: its kind, and the name of the value of each of its parameters."""

    kind: str
    names: Mapping[str, str]  # by key; the name is that of the dimension where the value is an axis


@dataclass(frozen=True)
class SequenceKind(TaskKind):
    """The kind of several tasks in a row. Its parameters are those of all stages.

    Attributes
    ----------
    stages : tuple of StageTable
        The stages in their order.
    """

    stages: tuple[StageTable, ...] = ()


def stage_count(task: Choice[TaskKind]) -> int:
    """Return the number of stages of a task of a spec, 0 for a single task."""
    return len(task.kind.stages) if isinstance(task.kind, SequenceKind) else 0


@dataclass(frozen=True)
class TaskSection(KindSection):
    """The section [task]: one kind with its parameters, or a list of stages, each with its own."""

    def read(self, table: Mapping[str, Any], faults: Faults, folder: Path) -> dict[str, Any]:
        """Return the attribute, or nothing if there is a fault. Paths are relative to `folder`."""
        if SEQUENCE not in table:
            return super().read(table, faults, folder)
        for key in table:
            if key != SEQUENCE:
                faults.add(f"task.{key} is given beside [[task.sequence]]; it belongs into a stage")
        stages = table[SEQUENCE]
        if not isinstance(stages, list) or not 0 < len(stages) <= MOST_STAGES:
            faults.add(
                f"task.sequence is {shown(stages)}; needed are 1 to {MOST_STAGES} tables [[task.sequence]]"
            )
            return {}
        read = [_read_stage(k, stage, faults, folder) for k, stage in enumerate(stages)]
        parts = [part for part in read if part is not None]
        return {self.field: _choice(parts)} if len(parts) == len(stages) else {}

    def write(self, owner: Any) -> dict[str, Any]:
        """Return the section of a spec, JSON-ready."""
        choice: Choice[Any] = getattr(owner, self.field)
        if not isinstance(choice.kind, SequenceKind):
            return super().write(owner)
        return {SEQUENCE: [_written(stage, choice) for stage in choice.kind.stages]}

    def without(self, table: Mapping[str, Any], owner: Any, name: str) -> dict[str, Any]:
        """Return the section without the parameter of a name."""
        choice: Choice[Any] = getattr(owner, self.field)
        if not isinstance(choice.kind, SequenceKind):
            return super().without(table, owner, name)
        rest = [
            {key: value for key, value in written.items() if stage.names.get(key) != name}
            for stage, written in zip(choice.kind.stages, table[SEQUENCE], strict=True)
        ]
        return {SEQUENCE: rest}


Stage = tuple[str, dict[str, Any]]


def _read_stage(k: int, table: Any, faults: Faults, folder: Path) -> Stage | None:
    """Return the kind of a stage and its values by key, or None if there is a fault."""
    section = f"task.sequence[{k}]"
    if not isinstance(table, Mapping):
        faults.add(f"{section} is {shown(table)}; needed is a table [[task.sequence]]")
        return None
    kind = table.get("kind", "random_regression")
    of_kind = name_entry(section, "kind", "kind", stage_kinds, "Kind of the task.", default=kind)
    if kind not in stage_kinds():
        read_table([of_kind], {"kind": kind}, faults)
        return None
    entries: list[Entry] = [of_kind, *(parameter_entry(section, *item) for item in _parameters(kind).items())]
    values = read_table(entries, table, faults)
    if len(values) < len(entries):
        return None
    del values["kind"]
    if kind in TASK_KINDS and (resolve := TASK_KINDS[kind].resolve):
        try:
            values = {"duration": values["duration"], **_one(section, resolve(section, values, folder))}
        except InputError as error:
            faults.add_error(error)
            return None
    return kind, values


def _one(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of data, which are one task in a stage."""
    if values["data"].axis:
        raise InputError(f"{section} has a list of tasks; a stage has one, so add a stage for each")
    return values


def _parameters(kind: str) -> dict[str, Parameter]:
    """Return the parameters of a stage of one kind."""
    own = RELATED[kind] if kind in RELATED else TASK_KINDS[kind].parameters
    return {"duration": DURATION, **own}


def _choice(stages: list[Stage]) -> Choice[TaskKind]:
    """Return the choice of all stages. A key that is an axis of one stage only names its dimension."""
    counts = Counter(
        key for _, values in stages for key, value in values.items() if isinstance(value, np.ndarray)
    )
    named: dict[str, Any] = {}
    parameters: dict[str, Parameter] = {}
    tables = []
    for k, (name, values) in enumerate(stages):
        names = {
            key: key if isinstance(value, np.ndarray) and counts[key] == 1 else f"{key}_{k}"
            for key, value in values.items()
        }
        named |= {names[key]: value for key, value in values.items()}
        parameters |= {names[key]: parameter for key, parameter in _parameters(name).items() if key in names}
        tables.append(StageTable(name, names))
    kind = SequenceKind(
        SEQUENCE,
        "Several tasks in a row.",
        parameters,
        partial(law_of, tuple(tables)),
        obstacle=SequenceLaw.obstacle,
        stages=tuple(tables),
    )
    return Choice(kind, named)


def law_of(stages: tuple[StageTable, ...], **values: Any) -> SequenceLaw:
    """Return the law of the stages, given one value of every parameter by its name."""
    laws = []
    for stage in stages:
        own = {key: values[name] for key, name in stage.names.items()}
        duration = float(own.pop("duration"))
        if stage.kind in RELATED:
            laws.append(StageLaw(stage.kind, None, duration, own.get("similarity", -1.0)))
        else:
            laws.append(StageLaw(stage.kind, TASK_KINDS[stage.kind].law(**own), duration))
    check_stages(tuple(laws))
    return SequenceLaw(tuple(laws))


def _written(stage: StageTable, choice: Choice[Any]) -> dict[str, Any]:
    """Return the table of a stage, JSON-ready."""
    table: dict[str, Any] = {"kind": stage.kind}
    for key, name in stage.names.items():
        value = choice.values[name]
        if isinstance(value, OwnItems):
            table[key] = value.content
        elif value is not None and key != "task":
            table[key] = axes.compact(value) if name in choice.axes else "inf" if value == math.inf else value
    return table
