"""Resources of a sweep before it runs: its blocks, points, bytes, files and time."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.formatting import format_bytes
from fastlin.kernels import Record
from fastlin.kernels.batch import VECTORS
from fastlin.kernels.blas.workspace import doubles as doubles_of_one
from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.vector.flow_step import Flow
from fastlin.kernels.vector.problems import SetUp
from fastlin.kernels.vector.state import Dynamics
from fastlin.kernels.vector.two_sided import TwoSided
from fastlin.sweeps.run.block import RECORD_NUMBERS
from fastlin.sweeps.run.evaluators import evaluator_of
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.block_shape import choose_block_shape
from fastlin.sweeps.store.contents import bytes_per_seed, layout_of
from fastlin.sweeps.store.costs import (
    point_seconds,
    seconds_of_blocks,
    sizes_of_all,
    sum_over_blocks,
)
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.metadata import Documents
from fastlin.sweeps.store.store import documents_at_rest

# Bytes that a running block needs per byte of its result: the kernel's array and the copy that is written.
# Both are float64 for every dtype of the store.
WORKING_COPIES = 3
MARGIN = 2  # by how much the most that a store takes exceeds the estimates of compressed arrays


@dataclass(frozen=True)
class Plan:
    """Resources of a sweep whose blocks are known."""

    layout: StoreLayout

    @classmethod
    def of(cls, spec: Spec) -> Plan:
        """Return the plan of a new sweep."""
        return cls(layout_of((spec,), choose_block_shape(spec)))

    @property
    def spec(self) -> Spec:
        """The spec of the sweep."""
        return self.layout.spec

    @property
    def block_seconds(self) -> float:
        """Estimated time of the longest block, with all its groups."""
        return float(self.seconds_of_blocks.max())

    @property
    def seconds_of_blocks(self) -> NDArray[np.float64]:
        """Estimated time of every block, in the shape of the grid."""
        return seconds_of_blocks(self.layout)

    def scaled_seconds(self, factor: Callable[[int, NDArray[np.float64]], Any]) -> NDArray[np.float64]:
        """Return the time of every block, where points take longer than estimated by a factor.

        `factor` is a function of the index of a solver, and of the estimates for a point with all lam of a
        product, or for a row of a table.
        """
        layout = self.layout
        points = point_seconds(layout).copy()
        for solver, name in enumerate(self.spec.solvers):
            part = layout.points.of_solver(name)
            points[part] *= factor(solver, points[part] * layout.points.columns_together)
        return sum_over_blocks(layout, points)

    @property
    def bytes(self) -> int:
        """Size of the complete store in a folder, with all its files.

        Compressed chunks are estimated: partial sums, histograms and quantiles over the seeds.
        """
        kept = self._merged_bytes if self.layout.keeps_values else 0
        documents = sum(map(len, self._documents.values()))
        return documents + self._plain_bytes + self._statistics_bytes + kept

    @property
    def most_bytes(self) -> int:
        """Most bytes that the chunks take, which is before the seed blocks of their cells are merged.

        The size of compressed chunks is estimated with a margin.
        """
        return self._plain_bytes + MARGIN * (
            self._statistics_bytes + self._merged_bytes * self.layout.grid[-2]
        )

    @property
    def _plain_bytes(self) -> int:
        """Size of the chunks that are not compressed."""
        plain = [array for array in self.layout.arrays if not array.compressed]
        return sum(array.chunk_count * (array.chunk_bytes + 4) for array in plain)

    @property
    def _statistics_bytes(self) -> int:
        """Estimated size of the statistics that are compressed."""
        return int(sum(array.compressed_bytes for array in self.layout.statistics.values()))

    @property
    def _merged_bytes(self) -> int:
        """Estimated size of the partial sums, with the seed blocks of each cell merged."""
        sums = sum(array.compressed_bytes for array in self.layout.values.values())
        return int(sums) // self.layout.grid[-2]

    @property
    def files(self) -> int:
        """Number of all files of the complete store in a folder."""
        layout = self.layout
        lasting = sum(array.chunk_count for array in layout.arrays if not array.transient)
        sums = sum(array.chunk_count for array in layout.arrays if array.transient)
        kept = sums // layout.grid[-2] if layout.keeps_values else 0
        return len(self._documents) + lasting + kept

    @cached_property
    def _documents(self) -> Documents:
        """The files of the store that are no chunks of blocks."""
        return documents_at_rest(self.layout)

    @property
    def block_memory(self) -> int:
        """Bytes that one block needs while it runs: its results, and the problems they are made from."""
        layout = self.layout
        per_seed = bytes_per_seed(self.spec) * layout.block_shape.points
        per_seed = per_seed * 8 // np.dtype(self.spec.dtype).itemsize
        groups = math.prod(layout.status.chunk[:-2])
        seeds = evaluator_of(self.spec).seeds_at_once(layout.block_shape.seeds, per_seed)
        sums = sum(array.chunk_bytes for array in layout.arrays if array.transient) // groups
        results = WORKING_COPIES * (sums + per_seed * seeds)
        # Where groups are joined, the arrays of the block hold the results of all groups.
        alone = groups == 1 and self.spec.table is None
        joined = 0 if alone else sum(array.chunk_bytes for array in layout.values.values())
        return results + 2 * joined + self._problem_memory(seeds)

    def _problem_memory(self, seeds: int) -> int:
        """Bytes of the records of the problems of some seeds, and of the workspaces that kernels need."""
        sizes = sizes_of_all(self.spec)
        draws = WIDTH * (sizes.n_i * sizes.n_o + sizes.n_h * (sizes.n_i + sizes.n_o))
        records = Record(sizes if self.spec.balance else sizes.unreduced).length * seeds
        if self.spec.table:
            records = records + RECORD_NUMBERS
        setup = np.where(sizes.fits_setup, SetUp.doubles(sizes), 8 * sizes.wide * (sizes.m + sizes.k_wide))
        dynamics = max(self._dynamics_doubles(sizes, start) for start in self.spec.starts)
        return 8 * (int((draws + records + setup).max()) + dynamics)

    def _dynamics_doubles(self, sizes: Sizes, start: Start) -> int:
        """Return the most doubles that the kernels over time need for a kind of start."""
        sizes = sizes.followed(start)
        lanes = sizes.fits_lanes | sizes.fits_lanes_to_descend
        single = ~(sizes.fits_lanes & sizes.fits_lanes_to_descend)
        workspace = Flow if self.spec.adaptive else Dynamics
        vectors = VECTORS * np.maximum(workspace.doubles(sizes), Dynamics.doubles(sizes))
        most = np.maximum(lanes * vectors, single * doubles_of_one(sizes))
        if start == Start.TWO_SIDED:
            # Networks that do not fit lanes need less on BLAS than the kernels of one-sided balance.
            whole = sizes.two_sided
            exact = sizes.has_two_sided & whole.fits_lanes
            most = np.maximum(most, exact * VECTORS * TwoSided.doubles(whole))
        return int(most.max())

    def check_resources(self, location: Location, at_once: int | None, memory: int, done: int = 0) -> None:
        """Raise an error if the disk or the memory of this machine cannot hold the missing blocks."""
        folder = location.folder
        if folder is not None:
            while not folder.exists():
                folder = folder.parent
            free = shutil.disk_usage(folder).free
            count = self.layout.block_count
            needed = self.most_bytes * (count - done) // count
            if needed > free:
                raise InputError(
                    f"the sweep needs {format_bytes(needed)} more on the disk of {location.text}, which has "
                    f"{format_bytes(free)} free; choose another location, float32, fewer times or seeds"
                )
        if at_once is not None and self.block_memory * at_once > memory:
            raise InputError(
                f"{at_once} blocks at a time need {format_bytes(self.block_memory * at_once)} of memory and "
                f"{format_bytes(memory)} are available; use fewer workers, times or lam, or smaller "
                "architectures"
            )
