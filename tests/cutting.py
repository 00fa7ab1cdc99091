"""Into which blocks tests cut their sweeps.

By the rule of `fastlin.sweeps.store.block_shape` a sweep as small as those of tests is one block. Tests of
other things keep each group in blocks of its own, so that there are several; tests of joined groups say
how many.
"""

from unittest import mock

from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.store import block_shape
from fastlin.sweeps.store.contents import layout_of
from fastlin.sweeps.store.layout import BlockShape

LEAST_BLOCKS, LEAST_SECONDS = block_shape.LEAST_BLOCKS, block_shape.LEAST_SECONDS


def groups_apart():
    """Have no groups joined, in this process."""
    block_shape.LEAST_BLOCKS, block_shape.LEAST_SECONDS = 10**9, 0.0


def by_the_rule():
    """Have groups joined as in use."""
    return mock.patch.multiple(block_shape, LEAST_BLOCKS=LEAST_BLOCKS, LEAST_SECONDS=LEAST_SECONDS)


def shape_of(spec, **sizes):
    """Return the shape of blocks of so many values of some axes: all lam and times, and one of the others.

    Axes may have fewer values as yet.
    """
    return BlockShape(**{"lams": spec.lams.size, "times": spec.times.size} | sizes)


def into(**sizes):
    """Have sweeps cut into blocks of so many values of some axes, within the context."""
    return mock.patch.object(Plan, "of", lambda spec: Plan(layout_of((spec,), shape_of(spec, **sizes))))


# Of each group in blocks of its own, and of blocks that hold several groups; both with two seeds.
APART = {"seeds": 2}
JOINED = {"architectures": 2, "init_scales": 2, "solvers": 2, "learning_rates": 2, "seeds": 2}
