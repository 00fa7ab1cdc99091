"""The reference page of a spec, written from the table of its keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastlin.formatting import markdown_table
from fastlin.observables.stages import OF_SEQUENCE
from fastlin.solvers import SOLVERS
from fastlin.sweeps.spec import reduction
from fastlin.sweeps.spec.entry import REQUIRED, Entry, KindSection, parameter_entry
from fastlin.sweeps.spec.sequence import DURATION, RELATED, RELATED_DOCS
from fastlin.sweeps.spec.table import KIND_SECTIONS, SECTIONS, entries_of

_INTRODUCTION = """\
# The spec of a sweep

A spec is a TOML file, or a mapping in Python. The sweep is the product of its axes. `fastlin presets` lists
specs that ship with fastlin, and `fastlin presets NAME` prints one. `Spec.to_toml()` writes a spec with all
its defaults.

## Axes

Every key that takes "numbers" or "whole numbers" takes one value, a range, or a list of values and ranges:

"""
_FORMS = (
    ("`0.5`", "this value"),
    ("`[0.0, 0.9, 9.0]`", "these values"),
    ("`{ start = -9.0, stop = 9.0, num = 19 }`", "`num` values from `start` to `stop`"),
    (
        "`{ start = -9.0, stop = 9.0, step = 0.5 }`",
        "`start`, `start + step` and so on; `stop` is the last one if the step meets it",
    ),
    ("`{ start = 0, num = 100, step = 2 }`", "`num` values from `start` on"),
    ("`{ start = 0, num = 100 }`, `{ start = 0, stop = 99 }`", "whole numbers with the step 1"),
    (
        '`{ start = 0.1, stop = 10.0, num = 21, spacing = "log" }`',
        "`num` values of equal ratios; not for whole numbers",
    ),
    ("`[0.0, { start = 0.1, stop = 0.9, step = 0.1 }, 5.0]`", "all of them; ranges may overlap"),
)
_IDENTITY = """
The values are sorted. They are the decimal numbers that the range means: 0.3, and not 0.30000000000000004.
The same holds for powers of two or ten in a range of equal ratios.
A store knows the values and not their form, so that the same values in another form are the same sweep.

`axes.architecture` takes `[N_i, N_h, N_o]`, `"N_i-N_h-N_o"`, in Python `fl.Architecture(n_i, n_h, n_o)`, a
product `{ n_i = ..., n_h = ..., n_o = ... }` of three axes of whole numbers, or a list of any of these. It
keeps their order.

## Own data

`[task] kind = "data"` takes inputs `x` (N_i, P) and targets `y` (N_o, P) from files, and
`[init] kind = "weights"` the layers `w1` and `w2`. Paths are relative to the file of the spec. In Python,
`fl.run_sweep(spec, path, task=fl.Task(x, y), init=fl.Network(w1, w2))` gives the objects themselves. Lists of
files, and lists or mappings of objects, are the axes `task` and `init_network`.

A store keeps the second moments of the data, the loss floor, samples of up to 1 MB with their labels, and
the hashes of numbers and labels. So it can be continued, verified, repaired and rebuilt from on a machine
without the files. Data and labels that have changed are refused. Inputs that are not whitened have the solver
`flow` by default.

## Parameters as axes

Parameters of a task and of a start may be axes, too: a list or a range makes a dimension of the store, which
has the name of the key in `[task]` and `init_KEY` in `[init]`.
"""

_POINTS = """\
## `[points]`

Points that are no product. Each column replaces an axis: `architecture` or `n_i`, `n_h` and `n_o`, `lam`,
`kappa`, `init_scale`, `rate_ratio`, `solver`, `learning_rate`, `seed`, `noise_seed`, parameters of the task
by their keys, and those of the start as `init_KEY`. All other axes have one value. Seeds that are no column
are an axis beside the points. In Python the table may also be `fl.run_sweep(..., points=table)` with a
mapping, a DataFrame or a Dataset. A store has the dimension `point`, and grows by rows at the end of its
table.

"""
_TABLES = (
    ("`lam = [-1.0, 0.5]`, `n_h = [2, 4]`, ...", "a list for each column; one value is that of all points"),
    ('`file = "points.csv"`', "a file that ends in .csv or .parquet, in the folder of the spec"),
    (
        '`sample = "sobol"`, `num = 1000`, `lam = [-9.0, 9.0]`, ...',
        "a design: `sobol`, `halton`, `latin` or `random`, with a range for each column; all but `latin` "
        "grow with `num`, and `sample_seed` (0) makes another one",
    ),
    ("`n_h = [2, 24]`", "in a design: whole numbers of a range; `seed` likewise"),
    ("`init_scale = { log = [0.1, 10.0] }`", "in a design: a logarithmic range"),
    ("`lam = { choice = [-1.0, 0.0, 1.0] }`", "in a design: one of these values; names need no `choice`"),
)


_SEQUENCE = """
Several tasks in a row are a list of tables `[[task.sequence]]` in place of `[task]`: one for each stage, with
a kind of task, its parameters, and a duration. A stage starts with the weights at the end of the one before.
Stages of one random kind are different draws. Every observable gets the dimension `stage`, and the loss also
`task`, because every task is evaluated in every stage. Times are within a stage, and values are NaN past its
end. A parameter of one stage that is an axis names its dimension, as `similarity`. If several stages have the
same key as an axis, the number of the stage follows, as `duration_0`. Networks with balanced starts and
whitened inputs are exact. Others need the solver `flow`.
"""


def reference() -> str:
    """Return the reference page as Markdown."""
    introduction = _INTRODUCTION + markdown_table(("form", "values"), _FORMS) + _IDENTITY
    parts = [f"## Top level\n\n{_table(entries_of(''))}"]
    for name in SECTIONS:
        section = KIND_SECTIONS.get(name)
        parts.append(f"## `[{name}]`\n\n{_kinds(section) if section else _table(entries_of(name))}")
        if name == "task":
            parts.append(_stages())
        if name == "dynamics":
            solvers = [(f"`{solver.name}`", solver.doc) for solver in SOLVERS.values()]
            parts.append(markdown_table(("solver", "meaning"), solvers))
    parts.append(_POINTS + markdown_table(("form", "points"), _TABLES))
    parts.append(f"## `[output.reduce]`\n\n{_table(reduction.ENTRIES)}")
    return "\n".join([introduction, *parts])


def _kinds(section: KindSection) -> str:
    """Return the key that names the kind, all kinds, and the parameters of those that have any."""
    parts = [
        _table([section.entry, *section.shared]),
        markdown_table(("kind", "meaning"), _meanings(section)),
    ]
    for kind in section.kinds:
        if parameters := section.parameters(kind):
            parts.append(f"Parameters of `{kind}`:\n\n{_table(parameters)}")
    return "\n".join(parts)


def _stages() -> str:
    """Return the stages of a sequence of tasks, and the kinds that only they have."""
    parts = [_SEQUENCE, _table([parameter_entry("task.sequence", "duration", DURATION)])]
    kinds = [(f"`{name}`", doc) for name, doc in RELATED_DOCS.items()]
    parts.append(markdown_table(("kind of a stage, besides those above", "meaning"), kinds))
    for name, parameters in RELATED.items():
        if parameters:
            entries = [parameter_entry("task.sequence", *item) for item in parameters.items()]
            parts.append(f"Parameters of `{name}`:\n\n{_table(entries)}")
    names = [(f"`{entry.name}`", entry.doc) for entry in OF_SEQUENCE.values()]
    parts.append(markdown_table(("observable of stages", "meaning"), names))
    return "\n".join(parts)


def _meanings(section: KindSection) -> list[tuple[str, ...]]:
    return [(f"`{name}`", kind.doc) for name, kind in section.kinds.items()]


def _table(entries: Sequence[Entry]) -> str:
    rows = [(f"`{entry.key}`", _form(entry), _default(entry.default), entry.doc) for entry in entries]
    return markdown_table(("key", "value", "default", "meaning"), rows)


def _form(entry: Entry) -> str:
    if entry.choices is None:
        return entry.form
    return f"{entry.form}: {', '.join(f'`{name}`' for name in entry.choices())}"


def _default(value: Any) -> str:
    if value is REQUIRED:
        return "required"
    return "" if value is None else f"`{json.dumps(value)}`"
