"""Growing a sweep: which specs extend which, and where the new values of an axis are stored.

A store never moves a number. Values that an axis gains are stored behind those it had, so readers of the old
store stay right; `open_sweep` puts every axis in the order of its spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastlin.sweeps.spec.spec import Spec, differences, essential

# The axes of a sweep: fields of a spec, and the dimensions they are of.
AXES = {
    "architectures": "architecture",
    "init_scales": "init_scale",
    "solvers": "solver",
    "learning_rates": "learning_rate",
    "seeds": "seed",
    "lams": "lam",
    "times": "time",
}
# Where they stand in a resolved spec, if not under [axes] by that name.
_ENTRIES = {
    "times": ("dynamics", "times"),
    "solvers": ("dynamics", "solver"),
    "learning_rates": ("dynamics", "learning_rate"),
}


def arranged(specs: Sequence[Spec]) -> Spec:
    """Return the last of some specs, each an extension of the one before, with axes in the order stored."""
    first, last = specs[0], specs[-1]
    fields = {name: _joined([getattr(spec, name) for spec in specs]) for name in AXES}
    return first if first is last else replace(last, **fields)


def _joined(values: list[Any]) -> Any:
    """Return the first values and, behind them, those that each of the others adds."""
    if isinstance(values[0], tuple):
        return tuple(dict.fromkeys(entry for part in values for entry in part))
    joined = values[0]
    for part in values[1:]:
        joined = np.concatenate([joined, part[~np.isin(part, joined)]])
    return joined


def obstacles(old: Spec, new: Spec) -> list[str]:
    """Return why `new` does not extend `old`: a line per difference that is no added value of an axis."""
    before, after = essential(old.to_dict()), essential(new.to_dict())
    if old.hash == new.hash:
        return []
    for name, dimension in AXES.items():
        section, key = _ENTRIES.get(name, ("axes", dimension))
        if _extends(name, old, new):
            before[section].pop(key, None)
            after[section].pop(key, None)
    return differences(before, after)


def _extends(name: str, old: Spec, new: Spec) -> bool:
    """Tell whether an axis holds all its old values; a single value that is no axis stays as it is."""
    if name == "solvers" and old.solver_axis != new.solver_axis:
        return False
    if name == "learning_rates" and old.learning_rate_axis != new.learning_rate_axis:
        return False
    single = (name == "solvers" and not old.solver_axis) or (
        name == "learning_rates" and not old.learning_rate_axis and old.learning_rates.size > 0
    )
    before, after = getattr(old, name), getattr(new, name)
    if single:
        return bool(np.array_equal(before, after))
    return set(before) <= set(after) if isinstance(before, tuple) else bool(np.isin(before, after).all())
