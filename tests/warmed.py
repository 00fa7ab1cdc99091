"""Imports of the server of forks before it forks, so that its children need not load compiled kernels."""

from fastlin.sweeps.run.block import compute
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.layout import StoreLayout
from tests import sweeping


def layout() -> StoreLayout:
    """Return a layout with blocks of every solver."""
    axes = {"architecture": [2, 1, 2], "seed": 0, "lam": 0.0}
    return Plan.of(Spec.from_dict(sweeping.spec(axes=axes, dynamics=sweeping.BOTH))).layout


for number in range(layout().block_count):
    for _, group in layout().block(layout().index(number)):
        compute(group)
