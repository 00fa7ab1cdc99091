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
- *Dropping.* Where even merged sums would take too much beside the points themselves
  (`contents.StatisticsLayout.keeps_values`), or the store was compacted, `finish` deletes all of them. If
  seeds are added to a store of few seeds, the old seeds are computed again. A compacted store takes no more
  seeds.
- *Bad points.* Partial sums of a lam at which a point is bad (diverged, failed, too stiff) stay as the
  workers wrote them, because `--retry-failed` replaces one block and needs the others.
- *Loss.* A seed block that is complete and whose sums are neither there, nor merged, nor dropped, is
  withdrawn and computed again. Every step may be interrupted and repeated: merged sums are written before the
  others are deleted, and statistics before any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import exact_statistics as fold
from fastlin.observables.registry import REGISTRY

# Arrays of partial sums over seeds: of observables over time, and of time scales.
PARTIALS, SCALE_PARTIALS = "partials", "scale_partials"

Cells = NDArray[np.int64]
Words = NDArray[np.uint32]
_COUNT, _BLOCKS = 0, 1  # among the words of 32 bits: both halves of the first word of 64


def folded_together(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the observables in each array of partial sums."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(PARTIALS if REGISTRY[name].over_time else SCALE_PARTIALS, []).append(name)
    return groups


def row_count(names: Sequence[str]) -> int:
    """Return how many numbers some observables have at one time."""
    return sum(REGISTRY[name].rows for name in names)


def of_one_number(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the partial sums of one number for each lam (..., L, words): all have the same count."""
    name, part = next(iter(arrays.items()))
    return part[..., 0, 0, :] if name == PARTIALS else part[..., 0, :]


def pack(cells: Cells, blocks: int) -> Words:
    """Return cells (..., words) as they are stored, as the sums of so many blocks. They share memory."""
    words = cells.view("<u4")
    words[..., _BLOCKS] = blocks
    return words


def unpack(words: Words) -> tuple[Cells, NDArray[np.int64]]:
    """Return the stored cells, and the number of blocks in each. Cells of no block are empty."""
    cells = np.array(words, order="C").view("<i8")
    blocks = blocks_in(words)
    cells.view("<u4")[..., _BLOCKS] = 0
    cells[blocks == 0] = empty_like(cells)
    return cells, blocks


def with_blocks(words: Words, blocks: int) -> Words:
    """Return a copy of stored cells as the sums of so many blocks."""
    copy = words.copy()
    copy[..., _BLOCKS] = blocks
    return copy


def empty_like(cells: Cells) -> Cells:
    """Return one empty cell with the bins of others."""
    return fold.empty((), cells.shape[-1] - fold.WORDS)


def blocks_in(words: Words) -> NDArray[np.int64]:
    """Return the number of seed blocks in each cell that is stored."""
    return words[..., _BLOCKS].astype(np.int64)


def count_in(words: Words) -> NDArray[np.int64]:
    """Return the number of seeds in each cell that is stored."""
    return words[..., _COUNT].astype(np.int64)
