"""Into which blocks tests cut their sweeps.

By the rule of `fastlin.sweeps.plan` a sweep as small as those of tests is one block. Tests of other things
keep each group in blocks of its own, so that there are several; tests of joined groups say how many are joined.
"""

from unittest import mock

from fastlin.sweeps import plan
from fastlin.sweeps.growth import AXES
from fastlin.sweeps.layout import BlockShape, StoreLayout
from fastlin.sweeps.plan import Plan

LEAST_BLOCKS, LEAST_SECONDS = plan.LEAST_BLOCKS, plan.LEAST_SECONDS


def groups_apart():
    """Have no groups joined, in this process."""
    plan.LEAST_BLOCKS, plan.LEAST_SECONDS = 10**9, 0.0


def by_the_rule():
    """Have groups joined as in use."""
    return mock.patch.multiple(plan, LEAST_BLOCKS=LEAST_BLOCKS, LEAST_SECONDS=LEAST_SECONDS)


def shape_of(spec, **sizes):
    """Return the shape of blocks of so many values of some axes, at most; all of lam and time by default."""
    lengths = {field: len(getattr(spec, field)) or 1 for field in AXES}
    given = dict.fromkeys(AXES, 1) | {name: lengths[name] for name in ("seeds", "lams", "times")} | sizes
    return BlockShape(**{name: min(size, lengths[name]) for name, size in given.items()})


def into(**sizes):
    """Have sweeps cut into blocks of so many values of some axes, within the context."""
    return mock.patch.object(Plan, "of", lambda spec: Plan(StoreLayout((spec,), shape_of(spec, **sizes))))


# Blocks that hold some groups of small sweeps, and are filled up at the end of most axes.
JOINED = {"architectures": 2, "init_scales": 2, "methods": 2, "learning_rates": 2, "seeds": 2}
