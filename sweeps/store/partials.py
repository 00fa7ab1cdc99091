"""Partial sums of a reduced store: their form on disk, and when a complete store keeps them.

A worker folds the seeds of its block into exact partial sums (`fastlin.kernels.exact_statistics`). The
statistics are evaluated from the merged partial sums of all blocks along the seeds. This is the design:

- *Form.* The words of 64 bits are stored as pairs of 32 bits, because a limb fills 32. A chunk is stored word
  by word, over all numbers of the block, and compressed with zstd. Limbs that no number uses are runs of
  zeros, which take next to nothing. Both steps are codecs of Zarr (`transpose`, `zstd`).
- *Blocks.* The upper half of the count, which no number of seeds reaches, holds the number of seed blocks
  whose seeds are in the sums: 0 of none, 1 as a worker writes them, more after merging.
- *Merging.* When all seed blocks of a cell are complete, `fastlin.sweeps.run.reduce.finish` writes the
  statistics. It then replaces the partial sums of the first seed block by the merged ones and deletes the
  others. Every seed block takes disk space only until then.
- *Dropping.* Where even merged sums would take too much beside the points themselves (`keeps`), or the store
  was compacted, `finish` deletes all of them. If seeds are added to a store of few seeds, the old seeds are
  computed again. A compacted store takes no more seeds.
- *Bad points.* Partial sums of a lam at which a point diverged or failed stay as the workers wrote them,
  because `--retry-failed` replaces one block and needs the others.
- *Loss.* A seed block that is complete and whose sums are neither there, nor merged, nor dropped, is
  withdrawn and computed again. Every step may be interrupted and repeated: merged sums are written before the
  others are deleted, and statistics before any.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import exact_statistics as fold
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.layout import StoreLayout

# Estimated bytes on disk. The sums of one number take 29 to 51 (small times to t = inf, 100 to 20 000 seeds,
# both solvers), a bin 0.2 to 1.1 (48 to 60 000 seeds), a quantile 3, because it is one of few values. Values
# of one number lie within a few octaves, and quantiles have 64 bins in each.
SUM_BYTES, BIN_BYTES, QUANTILE_BYTES, FILLED_BINS = 48, 0.5, 3, 256
MARGIN = 2  # by how much the estimate of the most that a store takes exceeds these
# Kept are partial sums that take, with the statistics, at most half of the bytes of the points, and at most a
# 50th of those of so many seeds.
SHARE, LARGE_SHARE, LARGE = 1 / 2, 1 / 50, 1000

Cells = NDArray[np.int64]
Words = NDArray[np.uint32]
_COUNT, _BLOCKS = 0, 1  # among the words of 32 bits: both halves of the first word of 64


def keeps(layout: StoreLayout) -> bool:
    """Tell whether a complete store keeps its partial sums, so that added seeds need no others."""
    spec = layout.spec
    if layout.compacted or spec.reduce is None:
        return False
    seeds, size = spec.seeds.size, np.dtype(spec.dtype).itemsize
    statistics = size * len(spec.reduce.names) + (_bins_bytes(spec) if spec.reduce.histogram else 0)
    allowed = size * min(SHARE * seeds, LARGE_SHARE * max(seeds, LARGE))
    return _number_bytes(spec) + statistics <= allowed


def stored_bytes(layout: StoreLayout) -> int:
    """Estimate the bytes on disk of all partial sums, with the seed blocks of each cell merged."""
    numbers = sum(math.prod(array.shape[:-1]) for array in layout.values.values())
    return int(numbers // layout.grid[-2] * _number_bytes(layout.spec))


def statistics_bytes(layout: StoreLayout) -> int:
    """Estimate the bytes on disk of the statistics that are compressed."""
    reduce, total = layout.spec.reduce, 0.0
    for array in layout.statistics.values():
        if array.compressed:
            assert reduce is not None
            moments = len(reduce.statistics) * np.dtype(array.dtype).itemsize
            quantiles = len(reduce.quantiles) * QUANTILE_BYTES
            each = _bins_bytes(layout.spec) if reduce.histogram else moments + quantiles
            total += math.prod(array.shape[:-1]) * each
    return int(total)


def _number_bytes(spec: Spec) -> float:
    """Estimate the bytes on disk of the partial sums of one number, over all seeds."""
    return SUM_BYTES + _bins_bytes(spec)


def _bins_bytes(spec: Spec) -> float:
    assert spec.reduce is not None
    return BIN_BYTES * min(spec.reduce.bins, spec.seeds.size, FILLED_BINS)


def pack(cells: Cells, blocks: int) -> Words:
    """Return cells (..., words) as they are stored, as the sums of so many blocks. They share memory."""
    words = cells.view("<u4")
    words[..., _BLOCKS] = blocks
    return words


def unpack(words: Words, bins: int) -> tuple[Cells, NDArray[np.int64]]:
    """Return the stored cells, and the number of blocks in each. Cells of no block are empty."""
    cells = np.array(words, order="C").view("<i8")
    blocks = blocks_in(words)
    cells.view("<u4")[..., _BLOCKS] = 0
    cells[blocks == 0] = fold.empty((), bins)
    return cells, blocks


def blocks_in(words: Words) -> NDArray[np.int64]:
    """Return the number of seed blocks in each cell that is stored."""
    return words[..., _BLOCKS].astype(np.int64)


def count_in(words: Words) -> NDArray[np.int64]:
    """Return the number of seeds in each cell that is stored."""
    return words[..., _COUNT].astype(np.int64)
