"""Shapes of the blocks into which tests cut their sweeps.

The rule of `fastlin.sweeps.store.block_shape` puts a sweep as small as those of the tests into one block.
Most tests put each group into separate blocks, so that there are several. Tests of joined groups state the
shape.
"""

from unittest import mock

from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.store import block_shape
from fastlin.sweeps.store.layout import BlockShape, StoreLayout

LEAST_BLOCKS, LEAST_SECONDS = block_shape.LEAST_BLOCKS, block_shape.LEAST_SECONDS


def groups_apart():
    """Join no groups into one block, in this process."""
    block_shape.LEAST_BLOCKS, block_shape.LEAST_SECONDS = 10**9, 0.0


def by_the_rule():
    """Join groups by the rule of the library, within the context."""
    return mock.patch.multiple(block_shape, LEAST_BLOCKS=LEAST_BLOCKS, LEAST_SECONDS=LEAST_SECONDS)


def shape_of(spec, **sizes):
    """Return a block shape with all lam and times, and `sizes` values of the other axes (default: one).

    An axis may still have fewer values than its size.
    """
    return BlockShape(**{"lams": spec.lams.size, "times": spec.times.size} | sizes)


def into(**sizes):
    """Cut sweeps into blocks of `sizes` values of some axes, within the context."""
    return mock.patch.object(Plan, "of", lambda spec: Plan(StoreLayout((spec,), shape_of(spec, **sizes))))


# Two seeds a block: with one group in each block, and with several groups.
APART = {"seeds": 2}
JOINED = {"architectures": 2, "init_scales": 2, "solvers": 2, "learning_rates": 2, "seeds": 2}
