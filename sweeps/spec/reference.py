"""The reference page of a spec, written from the table of its keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastlin.sweeps.spec import entries, reduction
from fastlin.sweeps.spec.entry import REQUIRED, Entry

_INTRODUCTION = """\
# The spec of a sweep

A spec is a TOML file, or a mapping in Python. The sweep is the product of its axes. `fastlin presets` lists specs
that ship with fastlin, and `fastlin presets NAME` prints one. `Spec.to_toml()` writes a spec, with all defaults.

## Axes

Every key below that takes "numbers" or "whole numbers" takes one value, a range, or a list of values and ranges:

| form | values |
| --- | --- |
| `0.5` | one value |
| `[0.0, 0.9, 9.0]` | these values |
| `{ start = -9.0, stop = 9.0, num = 19 }` | `num` values from `start` to `stop` |
| `{ start = -9.0, stop = 9.0, step = 0.5 }` | `start`, `start + step`, ... up to `stop`, which is one of them if the step meets it |
| `{ start = 0, num = 100, step = 2 }` | `num` values from `start` on; of whole numbers the step is 1 by default |
| `{ start = 0.1, stop = 10.0, num = 21, spacing = "log" }` | `num` values from `start` to `stop` of equal ratios; not for whole numbers |
| `[0.0, { start = 0.1, stop = 0.9, step = 0.1 }, 5.0]` | all of them; values that ranges share count once |

The values are sorted. They are the decimal numbers that the range means: 0.3, and not 0.30000000000000004. A store
knows the values and not the form, so that the same values in another form are the same sweep.

`axes.architecture` takes `[N_i, N_h, N_o]`, `"N_i-N_h-N_o"`, in Python `fl.Architecture(n_i, n_h, n_o)`, a product
`{ n_i = ..., n_h = ..., n_o = ... }` of three axes of whole numbers, or a list of any of these. It keeps their order.
"""


def reference() -> str:
    """Return the reference page as Markdown."""
    tables = [("", "Top level"), *((name, f"`[{name}]`") for name in entries.SECTIONS)]
    parts = [f"## {title}\n\n{_table(entries.entries_of(name))}" for name, title in tables]
    reduce = f"## `[output.reduce]`\n\n{_table(reduction.ENTRIES)}"
    return "\n".join([_INTRODUCTION, *parts, reduce])


def _table(rows: Sequence[Entry]) -> str:
    cells = [("key", "value", "default", "meaning"), ("---",) * 4]
    cells += [(f"`{entry.key}`", _form(entry), _default(entry.default), entry.doc) for entry in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _form(entry: Entry) -> str:
    if entry.choices is None:
        return entry.form
    return f"{entry.form}: {', '.join(f'`{name}`' for name in entry.choices())}"


def _default(value: Any) -> str:
    if value is REQUIRED:
        return "required"
    return "" if value is None else f"`{json.dumps(value)}`"
